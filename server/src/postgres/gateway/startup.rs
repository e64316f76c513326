//! How a tool's connection begins: what it says is checked, and the startup packet that goes on is the daemon's own. Must not
//! know how the daemon logs in.

use std::{collections::BTreeMap, io};

use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    Told,
    frame::{self, Message, fatal},
};

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// Version 3.0 of the protocol: what is spoken.
const VERSION: u32 = 196_608;

/// What a connection is for.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Opening {
    /// A session, with what its startup packet says.
    Session(Startup),
    /// What the session of this key runs is to be cancelled.
    Cancel((i32, i32)),
}

/// What a startup packet says.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Startup {
    /// A newer minor version was asked for, or options of the protocol that are not known.
    negotiates: Option<Vec<String>>,
    parameters: BTreeMap<String, String>,
}

/// Reads how a connection begins. Encryption is not offered: the bytes come through the caller's own stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Opening> {
    loop {
        let packet = frame::read_startup(stream).await?;
        let Some((code, rest)) = packet.split_first_chunk() else { return Err(malformed()) };
        match u32::from_be_bytes(*code) {
            SSL | GSS => {
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            CANCEL => {
                let (Some(pid), Some(secret)) =
                    (rest.first_chunk(), rest.get(4..).and_then(|r| r.first_chunk()))
                else {
                    return Err(malformed());
                };
                return Ok(Opening::Cancel((i32::from_be_bytes(*pid), i32::from_be_bytes(*secret))));
            }
            code if code >> 16 == VERSION >> 16 => return Ok(Opening::Session(parse(code, rest)?)),
            _ => return Err(malformed()),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the startup packet is malformed")
}

fn parse(code: u32, rest: &[u8]) -> io::Result<Startup> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
    let (mut all, mut unknown) = (BTreeMap::new(), Vec::new());
    let mut texts = frame::texts(rest);
    while let (Some(name), Some(value)) = (texts.next().filter(|name| !name.is_empty()), texts.next()) {
        let name = text(name)?;
        match name.starts_with("_pq_.") {
            true => unknown.push(name),
            false => drop(all.insert(name, text(value)?)),
        }
    }
    let negotiates = (code != VERSION || !unknown.is_empty()).then_some(unknown);
    Ok(Startup { negotiates, parameters: all })
}

impl Startup {
    fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// What the session calls itself.
    pub(super) fn application_name(&self) -> &str {
        self.get("application_name")
    }

    /// Why it is refused, before a password is asked for.
    pub(super) fn refusal(&self, told: &Told) -> Option<Message> {
        let user = self.get("user");
        let database = Some(self.get("database")).filter(|name| !name.is_empty()).unwrap_or(user);
        if !matches!(self.get("replication"), "" | "false" | "off" | "no" | "0") {
            return Some(fatal("28000", "the gateway of resetd takes no replication connections", ""));
        }
        if database != told.database {
            let text = format!("database \"{database}\" cannot be reached through the gateway of resetd");
            let hint = format!("A migration tool reaches database \"{}\" and no other.", told.database);
            return Some(fatal("3D000", &text, &hint));
        }
        if user != told.user {
            let text = format!("role \"{user}\" cannot be used through the gateway of resetd");
            return Some(fatal("28000", &text, &format!("Its user is \"{}\".", told.user)));
        }
        None
    }

    /// The packet that goes on: role and database are those of the database built aside, the settings are the tool's.
    pub(super) fn rewritten(&self, role: &str, database: &str, search_path: Option<&str>) -> Vec<u8> {
        let mut body = VERSION.to_be_bytes().to_vec();
        let mut add = |name: &str, value: &str| {
            for text in [name, value] {
                body.extend(text.bytes());
                body.push(0);
            }
        };
        add("user", role);
        add("database", database);
        // Before the tool's own options, so that these go first where they say something else.
        let options = [
            search_path.map(|path| format!("-c search_path={path}")),
            self.parameters.get("options").cloned(),
        ];
        let options: Vec<String> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            add("options", &options.join(" "));
        }
        let ours = ["user", "database", "options", "replication"];
        for (name, value) in self.parameters.iter().filter(|(name, _)| !ours.contains(&name.as_str())) {
            add(name, value);
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &body].concat()
    }

    /// Proves that whoever connects was told the password. `None`: it was; else what ends the session.
    pub(super) async fn prove(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        told: &Told,
    ) -> io::Result<Option<Message>> {
        if let Some(unknown) = &self.negotiates {
            let mut body = 0_u32.to_be_bytes().to_vec();
            body.extend(u32::try_from(unknown.len()).unwrap_or(u32::MAX).to_be_bytes());
            unknown.iter().for_each(|name| body.extend(name.bytes().chain([0])));
            stream.write_all(&Message::new(b'v', body).encode()).await?;
        }
        stream.write_all(&Message::new(b'R', 3_u32.to_be_bytes().to_vec()).encode()).await?;
        stream.flush().await?;
        let answer = frame::read(stream).await?;
        let given = answer.body.strip_suffix(&[0]).unwrap_or(&answer.body);
        let same: bool = given.ct_eq(told.password.expose().as_bytes()).into();
        Ok((answer.kind != b'p' || !same).then(|| {
            let text = format!("password authentication failed for user \"{}\"", told.user);
            fatal(
                "28P01",
                &text,
                "The password is in PGPASSWORD and DATABASE_URL, and holds for one operation.",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use model::secret::Secret;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn told() -> Told {
        Told {
            user: "tool".to_owned(),
            password: Secret::new("once".to_owned()),
            database: "shop".to_owned(),
            schema: "app".to_owned(),
        }
    }

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).expect("short");
        [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    fn startup(parameters: &[(&str, &str)]) -> Startup {
        let parameters = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Startup { negotiates: None, parameters }
    }

    #[tokio::test]
    async fn encryption_is_declined_and_the_packet_read() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let sent = [packet(SSL, &[]), packet(GSS, &[]), packet(VERSION, b"user\0tool\0database\0shop\0\0")];
        theirs.write_all(&sent.concat()).await.expect("room");
        let Ok(Opening::Session(read)) = read(&mut ours).await else { panic!("a session") };
        assert_eq!(read, startup(&[("user", "tool"), ("database", "shop")]));
        let mut declined = [0; 2];
        theirs.read_exact(&mut declined).await.expect("an answer");
        assert_eq!(&declined, b"NN");
    }

    #[tokio::test]
    async fn a_cancel_has_its_key_and_nonsense_is_refused() {
        let cancel = packet(CANCEL, &[0, 0, 0, 7, 0, 0, 0, 9]);
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(&cancel).await.expect("room");
        assert_eq!(read(&mut ours).await.expect("a cancel"), Opening::Cancel((7, 9)));
        for bad in [packet(CANCEL, &[1]), packet(2 << 16, b"x\0y\0\0"), packet(VERSION, b"user\0\xff\0\0")] {
            theirs.write_all(&bad).await.expect("room");
            assert!(read(&mut ours).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn another_database_another_user_and_replication_are_refused() {
        let state = |parameters: &[(&str, &str)]| {
            let refusal = startup(parameters).refusal(&told())?;
            let text = String::from_utf8(refusal.body).expect("text");
            text.split('\0').find_map(|field| field.strip_prefix('C')).map(str::to_owned)
        };
        assert_eq!(state(&[("user", "tool"), ("database", "shop")]), None);
        assert_eq!(state(&[("user", "tool"), ("database", "postgres")]).as_deref(), Some("3D000"));
        assert_eq!(state(&[("user", "tool")]).as_deref(), Some("3D000"));
        assert_eq!(state(&[("user", "postgres"), ("database", "shop")]).as_deref(), Some("28000"));
        for value in ["true", "database", "1", "on"] {
            let asked = [("user", "tool"), ("database", "shop"), ("replication", value)];
            assert_eq!(state(&asked).as_deref(), Some("28000"), "{value}");
        }
    }

    #[test]
    fn what_goes_on_names_the_role_and_the_new_database_and_keeps_the_settings() {
        let said = startup(&[
            ("user", "tool"),
            ("database", "shop"),
            ("options", "-c search_path=tenant"),
            ("replication", "off"),
            ("client_encoding", "LATIN1"),
        ]);
        let packet = said.rewritten("role", "aside", Some("\"app\",public"));
        assert_eq!(usize::try_from(u32::from_be_bytes(packet[..4].try_into().expect("4"))), Ok(packet.len()));
        let texts: Vec<&str> = std::str::from_utf8(&packet[8..]).expect("text").split('\0').collect();
        let expected = [
            "user",
            "role",
            "database",
            "aside",
            "options",
            "-c search_path=\"app\",public -c search_path=tenant",
            "client_encoding",
            "LATIN1",
            "",
            "",
        ];
        assert_eq!(texts, expected);
    }

    #[tokio::test]
    async fn only_the_password_lets_in() {
        for (given, lets_in) in [("once", true), ("onc", false), ("", false), ("once ", false)] {
            let (mut ours, mut theirs) = tokio::io::duplex(1024);
            let answer = Message::new(b'p', [given.as_bytes(), &[0]].concat()).encode();
            theirs.write_all(&answer).await.expect("room");
            let refusal = startup(&[]).prove(&mut ours, &told()).await.expect("an answer");
            assert_eq!(refusal.is_none(), lets_in, "{given:?}");
        }
    }
}
