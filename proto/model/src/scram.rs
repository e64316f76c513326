//! What PostgreSQL stores of a password (RFC 5803, SCRAM-SHA-256): a role can be made without the password being in any
//! statement, nor in a server's log.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// How often the password is hashed: PostgreSQL's own number.
const ITERATIONS: u32 = 4096;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The verifier of an ASCII password.
#[must_use]
pub fn verifier(password: &str, salt: &[u8; 16]) -> String {
    let keys = Keys::of(password.as_bytes(), salt, ITERATIONS);
    let (stored, server) = (base64(&keys.stored), base64(&keys.server));
    format!("SCRAM-SHA-256${ITERATIONS}:{}${stored}:{server}", base64(salt))
}

struct Keys {
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Keys {
    fn of(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let mut block = mac(password, &[salt, &1_u32.to_be_bytes()].concat());
        let mut salted = block.clone();
        for _ in 1..iterations {
            block = mac(password, &block);
            salted.iter_mut().zip(&block).for_each(|(all, one)| *all ^= one);
        }
        let stored = Sha256::digest(mac(&salted, b"Client Key")).to_vec();
        Self { stored, server: mac(&salted, b"Server Key") }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// The exchange that RFC 7677 shows: the server's signature is made with the server's key.
    #[test]
    fn keys_are_rfc_7677s() {
        let salt =
            [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        assert_eq!(base64(&salt), "W22ZaJ0SNY7soEsUEjb6gQ==");
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let keys = Keys::of(b"pencil", &salt, ITERATIONS);
        assert_eq!(
            base64(&mac(&keys.server, said.as_bytes())),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        let signature = mac(&keys.stored, said.as_bytes());
        let client = mac(
            &{
                let mut salted = mac(b"pencil", &[&salt[..], &1_u32.to_be_bytes()].concat());
                let mut block = salted.clone();
                for _ in 1..ITERATIONS {
                    block = mac(b"pencil", &block);
                    salted.iter_mut().zip(&block).for_each(|(all, one)| *all ^= one);
                }
                salted
            },
            b"Client Key",
        );
        let proof: Vec<u8> = client.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(base64(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    }
}
