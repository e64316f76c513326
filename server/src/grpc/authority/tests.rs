//! Streams of frames, in pieces of every size.

use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut all = length[1..].to_vec();
    all.extend([kind, flags, 0, 0, 0, 1]);
    all.extend(payload);
    all
}

/// A literal without Huffman's code, its name in the table.
fn literal(first: u8, value: &str) -> Vec<u8> {
    let mut all = vec![first];
    match u8::try_from(value.len()).expect("short") {
        length @ 0..127 => all.push(length),
        length => all.extend([0x7f, length - 127]),
    }
    all.extend(value.as_bytes());
    all
}

/// A call with every kind of field, and the authority in both forms: by its place in the table, and in full, as grpcio does.
fn block(authority: &str) -> Vec<u8> {
    let named = [vec![0x40, 2], b"te".to_vec(), vec![8], b"trailers".to_vec()].concat();
    let odd = [vec![0x00, 3], b"a%b".to_vec(), vec![3], b"c/d".to_vec()].concat();
    let likes = [":authoritx", ":authorit", ":authority2", "x-authorit"].map(|name| {
        let length = u8::try_from(name.len()).expect("short");
        [vec![0x40, length], name.as_bytes().to_vec(), vec![3], b"%2F".to_vec()].concat()
    });
    let in_full = [vec![0x40, 10], b":authority".to_vec(), literal(0, authority)[1..].to_vec()].concat();
    [
        vec![0x83, 0x86, 0x3f, 0xe1, 0x1f],
        literal(0x44, "/resetd.v1.SystemService/GetServerInfo"),
        literal(0x41, authority),
        named,
        vec![0x7f, 0x00, 1, b'x'],
        vec![0xff, 0x80, 0x01],
        odd,
        likes.concat(),
        in_full,
    ]
    .concat()
}

fn stream(authority: &str) -> Vec<u8> {
    let block = block(authority);
    let (left, right) = block.split_at(block.len() / 2);
    let padded = [&[3, 1, 2, 3, 4, 5], block.as_slice(), &[0, 0, 0]].concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, &[0, 4, 0, 0, 0x25, 0x2f]),
        frame(HEADERS, 0x4, &block),
        frame(0, 1, b"\x41\x05%2F%2F data is not looked at"),
        frame(HEADERS, PADDED | PRIORITY | 0x4, &padded),
        frame(HEADERS, 0, left),
        frame(CONTINUATION, 0, &[]),
        frame(CONTINUATION, 0x4, right),
        frame(6, 0, &[0; 8]),
        frame(HEADERS, 0x4, &block),
    ]
    .concat()
}

fn passed(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut all, mut filter) = (bytes.to_vec(), AuthorityFilter::new());
    all.chunks_mut(size).for_each(|piece| filter.pass(piece));
    all
}

#[test]
fn a_path_becomes_a_name_and_nothing_else_changes_whatever_the_pieces() {
    let long = format!("%2F{}", "d/".repeat(70));
    for (path, name) in [
        ("tmp%2Fpy24%2Fs.sock", "tmp-2Fpy24-2Fs.sock".to_owned()),
        ("/var/run/x y/[a]@b:c:d.sock", "-var-run-x-y--a--b-c-d.sock".to_owned()),
        (&long, long.replace(['%', '/'], "-")),
    ] {
        let (before, after) = (stream(path), stream(&name));
        assert_eq!(before.len(), after.len());
        for size in (1..40).chain([before.len()]) {
            assert_eq!(passed(&before, size), after, "{path} in pieces of {size}");
        }
    }
}

#[test]
fn what_a_name_may_hold_and_what_is_in_huffmans_code_stays() {
    let plain = stream("localhost");
    assert_eq!(passed(&plain, 7), plain);
    let huffman = [vec![0x41, 0x83], b"%2F".to_vec()].concat();
    let coded = [vec![0; PREFACE], frame(HEADERS, 0x4, &huffman)].concat();
    assert_eq!(passed(&coded, 5), coded);
    assert_eq!(passed(&stream(""), 3), stream(""));
}

#[test]
fn what_is_not_understood_is_left_alone() {
    let preface = || vec![0; PREFACE];
    let hostile = [
        frame(HEADERS, PADDED, &[]),
        frame(HEADERS, PADDED, &[200, 1, 2]),
        frame(HEADERS, PRIORITY, &[1, 2]),
        frame(HEADERS, 0x4, &[0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, 0x4, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x25]),
        vec![0xff; 4_000],
        vec![0x41; 4_000],
    ];
    for bytes in hostile {
        let bytes = [preface(), bytes, b"%2F%2F".to_vec()].concat();
        for size in [1, 3, bytes.len()] {
            assert_eq!(passed(&bytes, size), bytes, "{:?}", &bytes[PREFACE..PREFACE + 12]);
        }
    }
    // Whatever comes, there is an end and nothing panics.
    let mut random = fastrand::Rng::with_seed(24);
    for _ in 0..2_000 {
        let noise: Vec<u8> = (0..random.usize(0..300)).map(|_| random.u8(..)).collect();
        assert_eq!(passed(&[preface(), noise.clone()].concat(), 11).len(), PREFACE + noise.len());
    }
}
