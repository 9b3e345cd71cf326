//! The layers of `ARCHITECTURE.md`, read off the `use` lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Longest source file, in lines before its tests.
const MAX_LINES: usize = 500;

/// The table in `ARCHITECTURE.md`: module, layer, and what it may name below its own layer's rule.
fn layers() -> BTreeMap<String, u32> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let layer = match cells.next()? {
            "0 core" => 0,
            "1 service" => 1,
            "2 edge" => 2,
            "3 wiring" => 3,
            _ => return None,
        };
        Some((cells.next()?.to_owned(), layer))
    });
    rows.flat_map(|(modules, layer)| {
        let names: Vec<_> = modules.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect();
        names.into_iter().map(move |name| (name, layer))
    })
    .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn module_of(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The crate's modules that a source names, its tests left out.
fn named_modules(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => named.push(word(rest)),
            Some(group) => {
                // Items of the group's own level.
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => named.push(word(std::mem::take(&mut item).trim())),
                        c if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                named.push(word(item.trim()));
            }
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

#[test]
fn named_modules_reads_single_and_grouped_uses() {
    let source = "use crate::{\n    error::ErrorKind,\n    frame::{Format, packet},\n    link,\n};\nuse crate::http::x;\nfn f() { crate::streams::g() }\n#[cfg(test)]\nmod tests { use crate::cli; }";
    assert_eq!(named_modules(source), ["error", "frame", "link", "http", "streams"]);
}

#[test]
fn no_module_names_one_of_an_outer_layer() {
    let layers = layers();
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main" | "bin") || path.ends_with("tests.rs") {
            continue;
        }
        let own = layers.get(&module).unwrap_or_else(|| panic!("ARCHITECTURE.md does not list `{module}`"));
        for named in named_modules(&fs::read_to_string(&path).unwrap()) {
            let layer = layers.get(&named).unwrap_or_else(|| panic!("ARCHITECTURE.md does not list `{named}`"));
            if layer > own {
                wrong.push(format!("{} names {named}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_module_in_the_table_exists() {
    for module in layers().keys() {
        let exists = ["", "/mod"].iter().any(|end| Path::new(&format!("src/{module}{end}.rs")).exists());
        assert!(exists, "ARCHITECTURE.md lists `{module}`");
    }
}

#[test]
fn the_core_does_no_input_or_output_and_has_no_clock() {
    let layers = layers();
    for path in sources(Path::new("src")).iter().filter(|path| layers.get(&module_of(path)) == Some(&0)) {
        let source = fs::read_to_string(path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap();
        for forbidden in ["tokio", "std::fs", "std::net", "std::env", "Instant::now", "SystemTime", "println!"] {
            assert!(!code.contains(forbidden), "{} has {forbidden}", path.display());
        }
    }
}

#[test]
fn only_the_portals_program_speaks_to_the_desktops_libraries() {
    for path in sources(Path::new("src")) {
        let source = fs::read_to_string(&path).unwrap();
        assert!(!source.contains("ashpd::") && !source.contains("pipewire::"), "{}", path.display());
    }
    for path in sources(Path::new("portal")) {
        let source = fs::read_to_string(&path).unwrap();
        for (at, _) in source.match_indices("framehost::") {
            let taken = ["framehost::source::screen::portal::wire", "framehost::frame::"];
            let named = &source[at..];
            let is_taken = taken.iter().any(|taken| named.starts_with(taken)) || named.starts_with("framehost::{");
            assert!(is_taken, "{} takes {}", path.display(), named.lines().next().unwrap());
        }
    }
}

#[test]
fn source_files_are_short_and_begin_with_what_they_are() {
    for path in sources(Path::new("src")).into_iter().chain(sources(Path::new("portal"))) {
        let source = fs::read_to_string(&path).unwrap();
        let lines = source.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        assert!(source.starts_with("//!") || path.ends_with("tests.rs"), "{} has no header", path.display());
    }
}

#[test]
fn every_file_with_unsafe_code_is_named_in_the_security_policy() {
    let policy = fs::read_to_string("SECURITY.md").unwrap();
    let mut files = 0;
    for path in sources(Path::new("src")) {
        let source = fs::read_to_string(&path).unwrap();
        if ["unsafe {", "unsafe fn ", "unsafe impl "].iter().any(|word| source.contains(word)) {
            files += 1;
            assert!(policy.contains(&format!("`{}`", path.display())), "{}", path.display());
        }
    }
    assert!(files > 0);
}

#[test]
fn only_the_manifest_template_knows_the_hosts_name() {
    for path in sources(Path::new("src")) {
        let source = fs::read_to_string(&path).unwrap();
        let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let code = code.split("#[cfg(test)]").next().unwrap();
        assert!(!code.contains("com.framehost.host"), "{}", path.display());
    }
}
