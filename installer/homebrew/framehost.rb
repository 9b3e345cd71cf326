# Homebrew's formula for framehost. There is no release to fetch yet, so it builds a clone of the repository, named by
# HOMEBREW_FRAMEHOST_SOURCE or, where this file still lies in one, that one. Homebrew takes formulae from taps only:
#
#   brew tap-new local/framehost
#   cp installer/homebrew/framehost.rb "$(brew --repository local/framehost)/Formula/"
#   HOMEBREW_FRAMEHOST_SOURCE=$PWD brew install --HEAD local/framehost/framehost
class Framehost < Formula
  desc "Native-messaging host for browser extensions with local machine learning"
  license any_of: ["MIT", "Apache-2.0"]
  head "file://#{ENV.fetch("HOMEBREW_FRAMEHOST_SOURCE") { File.expand_path("../..", __dir__) }}",
       using: :git, branch: "main"

  # The crates' licence texts are gathered by Python; the camera's library is made from the kernel's headers by libclang.
  depends_on "llvm" => :build
  depends_on "python@3.13" => :build
  depends_on "rust" => :build
  # The program does not run on macOS yet.
  depends_on :linux

  def install
    ENV["LIBCLANG_PATH"] = Formula["llvm"].opt_lib.to_s
    # Homebrew's own arguments: --locked, --root and --path; the features are the package's default.
    system "cargo", "install", *std_cargo_args

    system "installer/stage.sh", bin, buildpath/"stage"
    # Where Homebrew has them. Not the unit, which `service` below writes.
    staged = buildpath/"stage/usr/share"
    bash_completion.install staged/"bash-completion/completions/framehost"
    fish_completion.install staged/"fish/vendor_completions.d/framehost.fish"
    zsh_completion.install staged/"zsh/site-functions/_framehost"
    man1.install Dir[staged/"man/man1/*"]
    doc.install Dir[staged/"doc/framehost/*"]
  end

  service do
    run [opt_bin/"framehost", "hub"]
    keep_alive crashed: true
  end

  def caveats
    <<~TEXT
      No browser knows of framehost yet. For each extension that may start it:
        framehost install --extension-id ID
      Browsers start the version that this was said with: say it again after each
      upgrade.
      Before you uninstall it:
        framehost uninstall
      Video files, recordings, and packets other than plain H.264 take ffmpeg.
    TEXT
  end

  test do
    assert_match "framehost", shell_output("#{bin}/framehost --version")
    assert_match "dry run", shell_output("#{bin}/framehost install --extension-id #{"a" * 32} --dry-run")
  end
end
