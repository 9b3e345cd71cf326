//! 256 random bits that stand for the right to call.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::hex;

/// A secret of 64 hex digits. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self(hex::lower(&bits)))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its time where the first difference is.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_not_shown() {
        let (one, two) = (Token::random().unwrap(), Token::random().unwrap());
        assert!(one.matches(one.as_str().as_bytes()));
        assert!(!one.matches(two.as_str().as_bytes()));
        assert_eq!(one.as_str().len(), 64);
        assert_eq!(format!("{one:?}"), "Token");
    }
}
