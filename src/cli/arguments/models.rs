//! What can be typed after `framehost models`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ModelsCommand {
    /// Take a directory into the cache, as if it had been downloaded
    Import {
        /// The directory with the model's files
        directory: PathBuf,
        /// The name it gets: org/name
        model_id: String,
        /// The branch or tag it gets
        #[arg(long, default_value = "main")]
        revision: String,
        /// Move the branch or tag if it stands for something else
        #[arg(long)]
        force: bool,
    },
    /// Fetch a model, verified, as upstream has it now
    Pull {
        /// org/name
        model_id: String,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
        /// Only files that match: "*.safetensors", "onnx/*"; can be given several times
        #[arg(long, value_name = "PATTERN")]
        include: Vec<String>,
        /// No files that match; can be given several times
        #[arg(long, value_name = "PATTERN")]
        exclude: Vec<String>,
        /// For programs: a line for each step
        #[arg(long)]
        json: bool,
    },
    /// List the models in the cache
    List {
        /// Only this one
        model_id: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show what of a model can be run: its variants, by the headers of its files
    Show {
        /// org/name
        model_id: String,
        /// Branch, tag or commit [default: each that is here]
        #[arg(long)]
        revision: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Read every file of a model, or of all, and compare it with its digest and its commit's listing
    ///
    /// Ends with 1 if anything is damaged or missing. Of a model that was pulled in part, the rest is missing.
    Verify {
        /// Only this one
        model_id: Option<String>,
        /// Fetch anew what is damaged or missing
        #[arg(long)]
        repair: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Remove a model, or one revision of it; what others link to stays
    Remove {
        /// org/name
        model_id: String,
        /// Branch, tag or commit [default: all of it]
        #[arg(long)]
        revision: Option<String>,
    },
    /// Clear away what nobody can ask for any more and, above a limit, the models that were used longest ago
    Gc {
        /// What the models may take, as 50GB or 20GiB [default: models_max_bytes of config.json, else no limit]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// Show what would go, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Keep a model, or one revision of it, from being cleared away; list what is kept so
    Pin {
        /// org/name [default: list what is pinned]
        model_id: Option<String>,
        /// Branch, tag or commit [default: all of it]
        #[arg(long, requires = "model_id")]
        revision: Option<String>,
    },
    /// Take that back
    Unpin {
        /// org/name
        model_id: String,
        /// The revision that was pinned [default: the pin of all of it]
        #[arg(long)]
        revision: Option<String>,
    },
    /// Print where a model, or one file of it, is
    Path {
        /// org/name
        model_id: String,
        /// Checked against its digest first
        file_path: Option<String>,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
    },
}

/// Bytes: `50GB` of 1000, `20GiB` of 1024, or bare.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("TIB", 1 << 40),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let upper = text.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find_map(|(name, bytes)| Some((upper.strip_suffix(name)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((&upper, 1));
    let problem = || format!("{text:?} is no size: 50GB, 20GiB, 1000000");
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let whole: u64 = whole.parse().map_err(|_| problem())?;
    let mut size = whole.checked_mul(bytes).ok_or_else(problem)?;
    let mut place = bytes;
    for digit in fraction.chars() {
        place /= 10;
        let digit = digit.to_digit(10).ok_or_else(problem)?;
        size = size.checked_add(place * u64::from(digit)).ok_or_else(problem)?;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_units_that_people_write() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text:?}");
        check("0", Some(0));
        check("1234", Some(1234));
        check("50GB", Some(50_000_000_000));
        check("20 GiB", Some(20 << 30));
        check("1.5gb", Some(1_500_000_000));
        check("1KiB", Some(1024));
        for wrong in ["", "GB", "-1", "1XB", "1.x", "99999999999TB"] {
            check(wrong, None);
        }
    }
}
