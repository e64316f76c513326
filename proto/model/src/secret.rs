//! Values that cannot be printed: passwords, tokens, keys. There is one way to see one, and it says so.
//!
//! It must not know what the value is for.

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroize;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A value that cannot be printed, and is wiped from memory when it goes.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; whoever calls this must not print it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_shows_it() {
        let secret = Secret::new("hunter2".to_owned());
        let json = serde_json::to_string(&secret).expect("a text");
        let shown = format!("{secret} {secret:?} {secret:#?} {json}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(shown.matches(REDACTED).count(), 4);
        assert_eq!(secret.expose(), "hunter2");
    }
}
