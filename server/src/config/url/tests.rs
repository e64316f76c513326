//! What the URLs of the field become, and that no error or display shows a password.

use super::*;

#[test]
fn urls_as_people_have_them() {
    for (text, shown, local) in [
        ("postgres://u:pw@db.example:5433/app", "postgres://u@db.example:5433/app", false),
        ("postgresql+asyncpg://u:pw@localhost/app?ssl=require", "postgres://u@localhost:5432/app", true),
        (
            "postgresql+psycopg://u:pw@127.0.0.1/app?connect_timeout=10",
            "postgres://u@127.0.0.1:5432/app",
            true,
        ),
        (" postgresql://u:p%40ss@[::1]:7/app\n", "postgres://u@[::1]:7/app", true),
        ("postgres://u:pw@/app?host=/run/pg&port=7", "postgres://u@/app?host=/run/pg&port=7", true),
        ("postgres://u@%2Frun%2Fpg:7/app", "postgres://u@/app?host=/run/pg&port=7", true),
        ("postgres://u@10.0.0.1/?dbname=app", "postgres://u@10.0.0.1:5432/app", false),
    ] {
        let url = DatabaseUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        assert_eq!((url.database(), url.is_local()), ("app", local), "{text}");
        assert_eq!(url.connect_options().get_database(), Some("app"));
    }
}

#[test]
fn credentials_and_tls_mode_arrive_at_the_driver() {
    for text in
        ["postgres://u:p%40s+s@db/app?sslmode=verify-full", "postgres://u:p%40s+s@/app?sslmode=verify-full"]
    {
        let options = DatabaseUrl::parse(text).expect("a URL").connect_options();
        let debug = format!("{options:?}");
        assert!(debug.contains("p@s+s") && debug.contains("VerifyFull"), "{text}");
        assert_eq!(options.get_username(), "u");
    }
}

#[test]
fn errors_never_show_a_part_of_the_url() {
    for (text, expected) in [
        ("mysql://u:hunter2@db/app", "the URL does not begin with postgres:// or postgresql://"),
        ("hunter2", "the URL does not begin with postgres:// or postgresql://"),
        ("postgres://u:hunter2@db", "the URL names no database"),
        ("postgres://u:hunter2@db/", "the URL names no database"),
        ("postgres://u:hunter2@db:port/app", ""),
        ("postgres://u:hunter2#x@db/app", ""),
        ("postgres://u:1/hunter2@db/app", ""),
        ("postgres://u:1?hunter2@db/app", ""),
        ("postgres://u:1/hunter2/x@db/app", ""),
        ("postgres://u:hunter2@db/app/hunter2", "the URL cannot be read: the database name contains a slash"),
        (
            "postgres://u:hunter2@db/app?sslmode=hunter2",
            "the URL cannot be read: sslmode is not one of the known modes",
        ),
        ("postgres://u:hunter2@db/app?port=hunter2", "the URL cannot be read: the port is not a port"),
        (
            "postgres://u:hunter2@db/app?hunter2=hunter2",
            "the URL has a query parameter that is not supported: (name withheld: it may be a part of a password)",
        ),
        (
            "postgres://u:hunter2@db/app?channel_binding=require",
            "the URL has a query parameter that is not supported: channel_binding",
        ),
    ] {
        let error = DatabaseUrl::parse(text).map(|url| url.to_string()).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
        let encode = format!("the URL cannot be read: {ENCODE}");
        assert_eq!(error.to_string(), if expected.is_empty() { &encode } else { expected }, "{text}");
    }
}

#[test]
fn clusters_are_told_apart() {
    let cluster = |text| DatabaseUrl::parse(text).expect("a URL").cluster();
    assert_eq!(cluster("postgres://a@localhost/x"), cluster("postgres://b@127.0.0.1:5432/y"));
    assert_ne!(cluster("postgres://localhost:5432/x"), cluster("postgres://localhost:5433/x"));
    assert_ne!(cluster("postgres://db1/x"), cluster("postgres://db2/x"));
    assert_ne!(cluster("postgres:///x?host=/run/pg"), cluster("postgres://localhost/x"));
}

#[test]
fn another_database_is_the_same_place() {
    let url = DatabaseUrl::parse("postgres://u:pw@db/app").expect("a URL").with_database("resetd");
    assert_eq!(url.to_string(), "postgres://u@db:5432/resetd");
}
