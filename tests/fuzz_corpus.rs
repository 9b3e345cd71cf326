//! Every kept input of every fuzz target, run once: what fuzzing has found stays found, without nightly Rust.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics")]

use std::{collections::BTreeSet, env, fs, ops::Range, panic, path::Path};

use framehost::fuzzing::TARGETS;

/// Most bytes of all corpora together: they are in everybody's clone.
const MAX_BYTES: usize = 200 << 10;

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_nothing_else_has() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "a name twice");
    assert_eq!(names("fuzz/corpus"), targets);
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    let manifest = fs::read_to_string("fuzz/Cargo.toml").unwrap();
    let programs = manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    assert_eq!(programs.collect::<BTreeSet<_>>(), targets);
    for target in targets {
        let source = fs::read_to_string(format!("fuzz/fuzz_targets/{target}.rs")).unwrap();
        assert!(source.contains(&format!("framehost::fuzzing::{target}(")), "{target} runs another target");
    }
}

fn kept_inputs(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(Path::new("fuzz/corpus").join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_kept_input_keeps_the_invariants_of_its_target() {
    let (mut bytes, mut broken) = (0, Vec::new());
    for (target, run) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(target);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            let data = fs::read(&file).unwrap();
            bytes += data.len();
            if panic::catch_unwind(|| run(&data)).is_err() {
                broken.push(file);
            }
        }
        run(&[]);
    }
    assert!(broken.is_empty(), "{broken:?}");
    assert!(bytes < MAX_BYTES, "{bytes} bytes of seeds");
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn range(&mut self, len: usize) -> Range<usize> {
        let start = self.below(len + 1);
        start..start + self.below((len - start).min(64) + 1)
    }

    fn odd_number(&mut self) -> u64 {
        let edges =
            [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 53, i64::MAX.cast_unsigned(), u64::MAX];
        let edge = *edges.get(self.below(edges.len())).unwrap();
        edge.wrapping_add(self.next() % 3).wrapping_sub(1)
    }

    /// One change.
    fn change(&mut self, data: &mut Vec<u8>, other: &[u8]) {
        let range = self.range(data.len());
        match self.below(6) {
            0 => drop(data.drain(range)),
            1 => data.truncate(range.start),
            2 => {
                let copied = data.get(range.clone()).unwrap().to_vec();
                data.splice(range.start..range.start, copied);
            }
            3 => {
                let part = self.range(other.len());
                data.splice(range, other.get(part).unwrap().iter().copied());
            }
            4 => {
                let (number, bytes) = (self.odd_number().to_le_bytes(), 1 << self.below(4));
                let end = data.len().min(range.start + bytes);
                data.splice(range.start..end, number.into_iter().take(bytes));
            }
            _ => {
                if let Some(byte) = data.get_mut(range.start) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}

/// Not led by what the code does with them, as real fuzzing is; but everywhere, and the same each time.
#[test]
fn changed_inputs_keep_the_invariants_too() {
    let rounds = env::var("FUZZ_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (target, run) in TARGETS {
        let inputs = kept_inputs(target);
        for input in &inputs {
            for round in 0..rounds {
                let mut data = input.clone();
                for _ in 0..1 + dice.below(4) {
                    let other = inputs.get(dice.below(inputs.len())).unwrap();
                    dice.change(&mut data, other);
                }
                data.truncate(1 << 17);
                if panic::catch_unwind(|| run(&data)).is_err() {
                    let kept = env::temp_dir().join(format!("framehost-{target}-{round}"));
                    fs::write(&kept, &data).unwrap();
                    panic!("{target} panics with {}", kept.display());
                }
            }
        }
    }
}
