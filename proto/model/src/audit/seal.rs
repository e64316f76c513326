//! Seals: what only who has the daemons' key can make of a record. Hashes are computed without one, so that whoever owns the
//! control database could go on with the chain by hand.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;

/// The keys of seals: the first one seals, and each of them is good to verify by, so that a key can be replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealKey(Vec<Secret<String>>);

impl SealKey {
    /// The shortest key, in characters.
    pub const SHORTEST: usize = 32;

    /// Reads keys, one a line, the newest first; `None`: there is none, or one is too short.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let good = !lines.is_empty() && lines.iter().all(|key| key.chars().count() >= Self::SHORTEST);
        good.then(|| Self(lines.into_iter().map(|key| Secret::new(key.to_owned())).collect()))
    }

    /// The seal of a record's hash, hex.
    #[must_use]
    pub fn seal(&self, hash: &str) -> String {
        self.0.first().map(|key| seal(key, hash)).unwrap_or_default()
    }

    /// Whether a seal was made with one of the keys.
    pub(super) fn fits(&self, hash: &str, told: &str) -> bool {
        self.0.iter().any(|key| same(&seal(key, hash), told))
    }
}

fn seal(key: &Secret<String>, hash: &str) -> String {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(hash.as_bytes());
    crate::hex(&mac.finalize().into_bytes())
}

/// How long it takes tells nothing of the right one.
fn same(right: &str, told: &str) -> bool {
    let differ = right.bytes().zip(told.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    !right.is_empty() && right.len() == told.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_the_usual_hmac() {
        let key = SealKey::read(&format!(" {} \n", "k".repeat(32))).expect("long enough");
        // python3: hmac.new(b"k" * 32, b"hash", "sha256").hexdigest()
        let expected = "508b93b13f848a8e9a4b5eac6c3bd578acb01208ab6e8b59c1ff1f5e39ea98e5";
        assert_eq!(key.seal("hash"), expected);
        assert!(key.fits("hash", expected) && !key.fits("hash", "") && !key.fits("other", expected));
        for wrong in [String::new(), "k".repeat(31), format!("{}\nshort", "k".repeat(32))] {
            assert_eq!(SealKey::read(&wrong), None);
        }
        let replaced =
            SealKey::read(&format!("{}\n\n{}\n", "n".repeat(40), "k".repeat(32))).expect("two keys");
        assert!(replaced.fits("hash", expected) && replaced.seal("hash") != expected);
        assert!(!format!("{key:?}").contains("kkk"));
    }
}
