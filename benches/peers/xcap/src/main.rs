//! Takes pictures of the primary monitor by xcap, one for each line on standard input, and answers each with a line: the
//! milliseconds that it took, and the sum of its red, green and blue. Times are its own: the pipes are not in them.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    time::Instant,
};

use xcap::Monitor;

fn main() -> Result<(), Box<dyn Error>> {
    let monitor = Monitor::all()?.into_iter().next().ok_or("no monitor")?;
    let mut output = io::stdout();
    for line in io::stdin().lock().lines() {
        line?;
        let began = Instant::now();
        let picture = monitor.capture_image()?;
        let elapsed = began.elapsed();
        let sum: u64 = picture.pixels().flat_map(|pixel| &pixel.0[..3]).map(|value| u64::from(*value)).sum();
        writeln!(output, "{} {sum}", elapsed.as_secs_f64() * 1e3)?;
        output.flush()?;
    }
    Ok(())
}
