# Installs framehost on Windows for the user who runs this: the program, and its registration with browsers. The script for
# who builds it; others take the .msi. Not run yet on a Windows.
#
#   installer\install.ps1 [-ExtensionId ID,...] [-FirefoxId ID,...] [-Browser NAME,...] [-Binary FILE] [-Uninstall]
#
# As install.sh: without an id, framehost is for the sample extension; without -Binary, it is built.
param(
    [string[]] $ExtensionId = @(),
    [string[]] $FirefoxId = @(),
    [string[]] $Browser = @(),
    [string] $Binary = '',
    [switch] $Uninstall
)
Set-StrictMode -Version 3
$ErrorActionPreference = 'Stop'
$repo = Split-Path -Parent $PSScriptRoot
# Where the .msi installs to, so that the one takes the place of the other.
$folder = Join-Path $env:LOCALAPPDATA 'Programs\framehost'
$installed = Join-Path $folder 'framehost.exe'

function Invoke-Program([string] $Program, [string[]] $Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with $LASTEXITCODE" }
}

$browsers = @($Browser | ForEach-Object { '--browser'; $_ })
if ($Uninstall) {
    Invoke-Program $installed (@('uninstall') + $browsers)
    if ($browsers.Count -eq 0) { Remove-Item -Recurse -Force -LiteralPath $folder }
    exit 0
}

if ($ExtensionId.Count + $FirefoxId.Count -eq 0) {
    # The first 32 hex digits of the SHA-256 of the extension's key, 0-f written as a-p.
    $key = (Get-Content -Raw -LiteralPath (Join-Path $repo 'extension-sample\manifest.json') | ConvertFrom-Json).key
    $digest = [Security.Cryptography.SHA256]::Create().ComputeHash([Convert]::FromBase64String($key))
    $digits = $digest[0..15] | ForEach-Object { ($_ -shr 4), ($_ -band 15) }
    $ExtensionId = @(-join ($digits | ForEach-Object { [char] (97 + $_) }))
    Write-Output "No -ExtensionId was given: framehost is for the sample extension, $ExtensionId."
}

if ($Binary -eq '') {
    $manifest = Join-Path $repo 'Cargo.toml'
    Invoke-Program 'cargo' @('build', '--release', '--locked', '--manifest-path', $manifest, '--target-dir', (Join-Path $repo 'target'))
    $Binary = Join-Path $repo 'target\release\framehost.exe'
}

New-Item -ItemType Directory -Force -Path $folder | Out-Null
$source = Split-Path -Parent (Resolve-Path -LiteralPath $Binary).Path
foreach ($name in 'framehost.exe', 'framehost-relay.exe') {
    $place = Join-Path $folder $name
    # A program that runs can be moved, and not be written over.
    if (Test-Path -LiteralPath $place) { Move-Item -Force -LiteralPath $place -Destination "$place.old" }
    Copy-Item -LiteralPath (Join-Path $source $name) -Destination $place
    Remove-Item -ErrorAction SilentlyContinue -LiteralPath "$place.old"
}
$ids = @($ExtensionId | ForEach-Object { '--extension-id'; $_ }) + @($FirefoxId | ForEach-Object { '--firefox-id'; $_ })
Invoke-Program $installed (@('install') + $ids + $browsers)
