//! Bearer tokens: `rsd_<id>_<secret>_<checksum>`. How one is made of random numbers, read, and known again.
//!
//! It must not know where tokens are kept, nor where random numbers come from.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    fault::{Fault, Reason},
    secret::{REDACTED, Secret},
};

/// How long a token is good for when nothing is said.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The longest lifetime.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How many valid tokens one name may have: the one in use, and the one that takes its place.
pub const VALID_AT_ONCE: usize = 2;
/// How many random numbers a token takes.
pub const NUMBERS: usize = 5;

const PREFIX: &str = "rsd_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 64 bits in base 62.
const WIDTH: usize = 11;
const SECRET: usize = (NUMBERS - 1) * WIDTH;
/// 32 bits in base 62.
const CHECKSUM: usize = 6;
const LONGEST_NAME: usize = 63;

/// A bearer token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    id: String,
    secret: Secret<String>,
}

/// What a token is asked with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct New {
    /// Made by the client: the same id makes the token once.
    pub request_id: Uuid,
    /// The principal will be `token:NAME`.
    pub name: String,
    /// How long it is good for.
    pub lifetime: Duration,
}

impl New {
    /// Whether name and lifetime are within bounds.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, with what is wrong.
    pub fn check(&self) -> Result<(), Fault> {
        let wrong = |field, what: String| Fault::new(Reason::InvalidRequest, what).with("field", field);
        check_name(&self.name).map_err(|what| wrong("name", what))?;
        check_lifetime(self.lifetime).map_err(|what| wrong("lifetime", what))
    }
}

/// A token as it is kept and shown, without its secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// The public id.
    pub id: String,
    /// The principal it proves is `token:NAME`.
    pub name: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// It has ended, by the control database's clock.
    pub expired: bool,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: String,
}

impl Entry {
    /// `valid`, `expired` or `revoked`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (&self.revoked_at, self.expired) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) => "valid",
        }
    }
}

/// Why a text is not a token. Holds no part of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Something else altogether.
    #[error("it is not a token of resetd: one begins with rsd_")]
    Form,
    /// A part is too long, too short or has other characters.
    #[error("it is not a whole token: a part of it is missing or too much")]
    Part,
    /// A typing error.
    #[error("it was not copied exactly: its checksum does not fit")]
    Checksum,
}

impl Token {
    /// A token of random numbers: 64 bits of id, 256 bits of secret.
    #[must_use]
    pub fn mint(random: [u64; NUMBERS]) -> Self {
        let [id, secret @ ..] = random;
        let secret: String = secret.iter().map(|n| base62(*n, WIDTH)).collect();
        Self { id: base62(id, WIDTH), secret: Secret::new(secret) }
    }

    /// Reads a token, and catches typing errors before anybody is asked about it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let rest = text.strip_prefix(PREFIX).ok_or(TokenError::Form)?;
        let mut parts = rest.split('_');
        let (Some(id), Some(secret), Some(checksum), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Part);
        };
        let whole = is_part(id, WIDTH) && is_part(secret, SECRET) && is_part(checksum, CHECKSUM);
        if !whole {
            return Err(TokenError::Part);
        }
        let token = Self { id: id.to_owned(), secret: Secret::new(secret.to_owned()) };
        if token.checksum() != checksum {
            return Err(TokenError::Checksum);
        }
        Ok(token)
    }

    /// The public id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole text, which is shown once.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        let secret = self.secret.expose();
        Secret::new(format!("{PREFIX}{}_{secret}_{}", self.id, self.checksum()))
    }

    /// What is kept of the secret.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret.expose().as_bytes()).into()
    }

    fn checksum(&self) -> String {
        let whole = Secret::new(format!("{PREFIX}{}_{}", self.id, self.secret.expose()));
        base62(u64::from(crc32(whole.expose().as_bytes())), CHECKSUM)
    }
}

/// Whether a text is the public id of a token.
#[must_use]
pub fn is_id(text: &str) -> bool {
    is_part(text, WIDTH)
}

/// Whether a text may be a token's name: the principal is `token:NAME`. Says what is wrong with it.
///
/// # Errors
/// It may not.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return Err(
            "a token's name has letters, digits, `.`, `-` and `_`, a letter or digit first".to_owned()
        );
    }
    match name.len() > LONGEST_NAME {
        true => Err(format!("a token's name has at most {LONGEST_NAME} characters")),
        false => Ok(()),
    }
}

/// Whether a token may be good for so long. Says what is wrong with it.
///
/// # Errors
/// It may not.
pub fn check_lifetime(lifetime: Duration) -> Result<(), String> {
    if lifetime < Duration::from_secs(1) {
        return Err("a token's lifetime must be a second at least".to_owned());
    }
    match lifetime > LONGEST_LIFETIME {
        true => Err("a token's lifetime must be 365d at most".to_owned()),
        false => Ok(()),
    }
}

/// A text without the secrets of the tokens in it, damaged ones as well.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains(PREFIX) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, token) = rest.split_at(at + PREFIX.len());
        out.push_str(before);
        let end = token.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(token.len());
        let (token, behind) = token.split_at(end);
        // Ten characters more than an id are no id any more.
        match token.split_once('_') {
            Some((id, _)) if is_id(id) => out.extend([id, "_", REDACTED]),
            _ if token.len() > WIDTH => out.push_str(REDACTED),
            _ => out.push_str(token),
        }
        rest = behind;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn is_part(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn base62(mut number: u64, width: usize) -> String {
    let mut digits = Vec::with_capacity(width);
    for _ in 0..width {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        digits.push(char::from(DIGITS[digit]));
        number /= 62;
    }
    digits.iter().rev().collect()
}

/// The checksum of Ethernet and gzip: enough against typing errors, and no secret.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests;
