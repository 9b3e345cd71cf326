# Builds framehost of this work tree with Nix, on Linux:
#
#   nix-build installer/nix && ./result/bin/framehost install --extension-id ID
#
# A nixpkgs with Rust 1.89 or newer. Browsers are told of the path in the store: after an upgrade, install again.
{
  pkgs ? import <nixpkgs> { },
}:

pkgs.rustPlatform.buildRustPackage {
  pname = "framehost";
  version = (builtins.fromTOML (builtins.readFile ../../Cargo.toml)).package.version;

  src = pkgs.lib.cleanSourceWith {
    src = pkgs.lib.cleanSource ../..;
    filter = path: type: !(builtins.elem (baseNameOf path) [ "target" ".venv" "node_modules" ]);
  };
  # Locked: every crate is fetched by the digest that this file has. The features are the package's default.
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [
    pkgs.python3
    # The camera's library is made from the kernel's headers.
    pkgs.rustPlatform.bindgenHook
  ];

  # They take browsers, displays and Python packages: see test.sh.
  doCheck = false;

  postInstall = ''
    patchShebangs installer
    installer/stage.sh "$out/bin" staged
    cp -r staged/usr/share "$out/"
    install -D -m 644 -t "$out/share/licenses/framehost" LICENSE-MIT LICENSE-APACHE
    install -D -m 644 -t "$out/lib/systemd/user" staged/usr/lib/systemd/user/framehost.service
    substituteInPlace "$out/lib/systemd/user/framehost.service" --replace-fail /usr/bin/framehost "$out/bin/framehost"
  '';

  meta = {
    description = "Native-messaging host for browser extensions with local machine learning";
    license = [
      pkgs.lib.licenses.mit
      pkgs.lib.licenses.asl20
    ];
    mainProgram = "framehost";
    platforms = pkgs.lib.platforms.linux;
  };
}
