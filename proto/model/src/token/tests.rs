//! Tokens: read back, typing errors caught, nothing shown that is secret.

use super::*;

fn token(seed: u64) -> Token {
    let mut random = fastrand::Rng::with_seed(seed);
    Token::mint(std::array::from_fn(|_| random.u64(..)))
}

fn text(token: &Token) -> String {
    token.text().expose().clone()
}

#[test]
fn a_token_is_read_back_and_known_by_its_digest() {
    for seed in 0..200 {
        let minted = token(seed);
        let shown = text(&minted);
        assert_eq!(shown.len(), 4 + 11 + 1 + 44 + 1 + 6, "{shown}");
        let read = Token::parse(&shown).expect("its own text");
        assert_eq!((read.id(), read.digest()), (minted.id(), minted.digest()));
        assert!(is_id(minted.id()));
    }
    assert_ne!(token(1).digest(), token(2).digest());
    assert_eq!(Token::mint([0; NUMBERS]).id(), "00000000000");
    assert_eq!(Token::mint([u64::MAX; NUMBERS]).id().len(), 11);
}

#[test]
fn the_checksum_is_the_usual_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn every_typing_error_is_caught() {
    let shown = text(&token(7));
    for at in 0..shown.len() {
        for other in ['0', 'x', '_', ' ', 'Z'] {
            let mut bytes: Vec<char> = shown.chars().collect();
            if bytes[at] == other {
                continue;
            }
            bytes[at] = other;
            let typo: String = bytes.iter().collect();
            assert!(Token::parse(&typo).is_err(), "{typo}");
        }
        let mut swapped: Vec<char> = shown.chars().collect();
        if at + 1 < swapped.len() && swapped[at] != swapped[at + 1] {
            swapped.swap(at, at + 1);
            let typo: String = swapped.iter().collect();
            assert!(Token::parse(&typo).is_err(), "{typo}");
        }
        assert!(Token::parse(&shown[..at]).is_err(), "cut at {at}");
    }
    assert!(Token::parse(&format!("{shown}x")).is_err());
    assert!(Token::parse(&format!("{shown}\n")).is_err());
}

#[test]
fn no_text_makes_the_parser_panic_and_none_is_a_token_by_chance() {
    let mut random = fastrand::Rng::with_seed(0x5EED);
    let alphabet: Vec<char> = "rsd__0aZ9é\u{0}\u{1F980} \n-".chars().collect();
    for round in 0..20_000_u64 {
        let mut chars: Vec<char> = match round % 3 {
            0 => Vec::new(),
            _ => text(&token(round)).chars().collect(),
        };
        for _ in 0..random.usize(1..12) {
            let (at, c) = (random.usize(0..=chars.len()), random.choice(&alphabet).copied().unwrap_or('x'));
            match random.u8(0..3) {
                0 => chars.insert(at, c),
                1 if at < chars.len() => chars[at] = c,
                _ if at < chars.len() => drop(chars.remove(at)),
                _ => {}
            }
        }
        let mutated: String = chars.iter().collect();
        if let Ok(read) = Token::parse(&mutated) {
            assert_eq!(text(&read), mutated, "what is read as a token is its own text");
        }
        let hidden = redacted(&mutated);
        assert!(hidden.chars().count() <= mutated.chars().count() + 10);
    }
}

#[test]
fn neither_form_nor_error_shows_the_secret() {
    let it = token(3);
    let shown = text(&it);
    let secret = shown.split('_').nth(2).expect("a secret").to_owned();
    assert!(!format!("{it:?} {it:#?} {}", it.text()).contains(&secret));
    for damaged in [shown.clone(), format!("see {shown}, and so on"), format!("x{shown}{shown}"), {
        let mut cut = shown.clone();
        cut.truncate(40);
        cut
    }] {
        let hidden = redacted(&damaged);
        assert!(!hidden.contains(&secret[..20]), "{hidden}");
        assert!(hidden.contains(it.id()), "{hidden}");
    }
    assert_eq!(redacted("nothing to hide"), "nothing to hide");
    assert_eq!(redacted("rsd_ begins a token"), "rsd_ begins a token");
}

#[test]
fn names_and_lifetimes_have_bounds() {
    for good in ["deploy", "deploy-eu.2", "A", "0_x"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in ["", "-x", ".x", "a b", "a*", "a:b", "ü", "a\n", &"x".repeat(64)] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
    assert!(check_lifetime(Duration::from_millis(999)).is_err());
    assert!(check_lifetime(DEFAULT_LIFETIME).is_ok() && check_lifetime(LONGEST_LIFETIME).is_ok());
    assert!(check_lifetime(LONGEST_LIFETIME + Duration::from_secs(1)).is_err());
}
