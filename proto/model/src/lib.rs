//! The nouns and rules of resetd: what a target, a plan, an operation and a report are, and every decision about them.
//!
//! Pure: no clock, no environment, no network, no database. Everything comes in as a value and goes out as a value.

pub mod audit;
pub mod authorization;
pub mod blast;
pub mod cancellation;
pub mod chain;
pub mod duration;
pub mod event;
pub mod fault;
pub mod finding;
pub mod flag_roles;
pub mod guard;
pub mod history;
pub mod lock;
pub mod matrix;
pub mod operation;
pub mod plan;
pub mod profile;
pub mod report;
pub mod retained;
pub mod revision;
pub mod scram;
pub mod secret;
pub mod sql;
pub mod target;
#[cfg(test)]
mod testing;
pub mod text;
pub mod text_limit;
pub mod token;
pub mod tool;
pub mod validation;
pub mod window;

use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hex digits: the one form of a plan's digest and of a chain's fingerprint.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex_sha256)
}

/// 64 lower-case hex digits.
pub(crate) fn is_hex_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of bytes, as lower-case hex.
#[must_use]
pub fn hex_sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_form() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(is_sha256(&format!("sha256:{digits}")));
        let (short, upper, wrong) = (&digits[1..], digits.to_uppercase(), digits.replace('f', "g"));
        let long = format!("{digits}0");
        for hex in ["", short, &long, &upper, &wrong, " "] {
            assert!(!is_sha256(&format!("sha256:{hex}")), "{hex}");
        }
        for text in [
            digits.clone(),
            format!("sha512:{digits}"),
            format!("SHA256:{digits}"),
            format!(" sha256:{digits}"),
        ] {
            assert!(!is_sha256(&text), "{text}");
        }
    }
}
