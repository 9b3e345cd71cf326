#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| framehost::fuzzing::hub_listing(data));
