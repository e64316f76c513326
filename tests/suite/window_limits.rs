//! Nobody takes a target for ever: the windows of one principal have a number and a length together.

use harness::{
    Api,
    windows::{Two, extend, refused, release, reserve, wish},
};
use jiff::SignedDuration;
use model::window::Window;

const HOUR: u64 = 3_600;

/// Reserves an hour that begins so many hours from now.
async fn hour(api: &mut Api, two: &Two, ahead: u64) -> Window {
    reserve(api, wish(&two.target, ahead * HOUR, HOUR)).await.expect("reserved")
}

#[tokio::test]
async fn a_principal_has_so_many_windows_at_a_time() {
    let two = Two::new("").await;
    let (mut guest, mut owner) = (two.guest.clone(), two.owner.clone());
    let mut windows = Vec::new();
    for ahead in 1..=5 {
        windows.push(hour(&mut guest, &two, 2 * ahead).await);
    }
    // A crowd of requests at once is no way around it.
    let crowd = (0..8).map(|n| {
        let (mut guest, wish) = (two.guest.clone(), wish(&two.target, (20 + 2 * n) * HOUR, HOUR));
        tokio::spawn(async move { reserve(&mut guest, wish).await })
    });
    for asked in crowd.collect::<Vec<_>>() {
        let (reason, text) = refused(asked.await.expect("no panic"));
        assert_eq!(reason, "LIMIT_EXCEEDED", "{text}");
        assert!(text.contains("you have 5 windows already, and may have 5"), "{text}");
    }
    // Others have their own, and who releases one may have another.
    hour(&mut owner, &two, 40).await;
    release(&mut guest, &windows[0], false, "not needed").await.expect("released");
    hour(&mut guest, &two, 50).await;
    refused(reserve(&mut guest, wish(&two.target, 60 * HOUR, HOUR)).await);
}

#[tokio::test]
async fn the_windows_of_a_principal_cover_so_much_time_together() {
    let two = Two::new("[profile.local]\nmax_window = \"2h\"\nmax_windows = \"none\"\n").await;
    let mut guest = two.guest.clone();
    let mut last = None;
    for number in 0..10 {
        last = Some(hour(&mut guest, &two, 2 + 4 * number).await);
    }
    let last = last.expect("ten of them");
    let (reason, text) = refused(reserve(&mut guest, wish(&two.target, 60 * HOUR, 1)).await);
    assert_eq!(reason, "LIMIT_EXCEEDED", "{text}");
    assert!(
        text.contains("with the 10h that you have reserved it would be more than 10h together"),
        "{text}"
    );
    // Not by making one longer either; shorter is always possible, and makes room.
    let (reason, text) =
        refused(extend(&mut guest, &last, last.ends_at + SignedDuration::from_secs(1)).await);
    assert_eq!(reason, "LIMIT_EXCEEDED", "{text}");
    let shorter =
        extend(&mut guest, &last, last.ends_at - SignedDuration::from_mins(30)).await.expect("shorter");
    extend(&mut guest, &shorter, shorter.ends_at + SignedDuration::from_mins(10))
        .await
        .expect("there is room");
    reserve(&mut guest, wish(&two.target, 60 * HOUR, HOUR / 3)).await.expect("there is room");
    refused(reserve(&mut guest, wish(&two.target, 70 * HOUR, 1)).await);
}

#[tokio::test]
async fn a_profile_says_how_much() {
    let two = Two::new("[profile.local]\nmax_windows = \"1\"\nmax_reserved = \"90m\"\n").await;
    let mut guest = two.guest.clone();
    let (reason, text) = refused(reserve(&mut guest, wish(&two.target, HOUR, 2 * HOUR)).await);
    assert_eq!((&*reason, text.contains("more than 1h30m together")), ("LIMIT_EXCEEDED", true), "{text}");
    hour(&mut guest, &two, 1).await;
    let (_, text) = refused(reserve(&mut guest, wish(&two.target, 4 * HOUR, 60)).await);
    assert!(text.contains("you have 1 window already, and may have 1"), "{text}");
}
