//! Which programs are browsers. An extension may take the headers out of its requests that tell of one
//! (`declarativeNetRequest`), and so hide whose they are; the program stays what it is.

/// Programs that make a browser's connections, by the names of their files.
///
/// Source: the packages of the browsers in `manifests/browsers.json`, and of Chromium's own builds for tests.
#[cfg(target_os = "linux")]
const PROGRAMS: [&str; 25] = [
    "brave",
    "chrome",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "firefox",
    "firefox-bin",
    "firefox-esr",
    "firefox.real",
    "google-chrome",
    "headless_shell",
    "librewolf",
    "msedge",
    "msedge-beta",
    "msedge-dev",
    "opera",
    "opera-beta",
    "opera-developer",
    "thunderbird",
    "thunderbird-bin",
    "ungoogled-chromium",
    "vivaldi",
    "vivaldi-bin",
    "yandex-browser",
    "yandex_browser",
];

/// Programs that make a browser's connections, by the names of their files: `browser` is Yandex's.
///
/// Source: the installers of the browsers in `manifests/browsers.json`, and Chromium's own builds for tests.
#[cfg(windows)]
const PROGRAMS: [&str; 13] = [
    "arc.exe",
    "brave.exe",
    "browser.exe",
    "chrome-headless-shell.exe",
    "chrome.exe",
    "chromium.exe",
    "firefox.exe",
    "headless_shell.exe",
    "librewolf.exe",
    "msedge.exe",
    "opera.exe",
    "thunderbird.exe",
    "vivaldi.exe",
];

/// Is a file of this name a browser's program?
pub(super) fn is_program(name: &str) -> bool {
    // Windows takes letters of either case for the same.
    PROGRAMS.iter().any(|program| if cfg!(windows) { program.eq_ignore_ascii_case(name) } else { *program == name })
}
