//! The keys that sign webhooks (PROTOCOL.md 6.5): how they are rotated, and how long they are published.

use durable_streams::object::{Object, Ports};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::subscription::keys::{
    KEY_MAX_AGE, KEY_PUBLISHED_AFTER, KEY_PUBLISHED_BEFORE, SIGNING_KEY_VALID, SigningKey, key_set,
};

use crate::support::network::Network;
use crate::support::sockets::HostSockets;
use crate::support::sql::HostSql;
use crate::support::world::START;

struct Registry {
    sql: HostSql,
    sockets: HostSockets,
    object: Object,
}

impl Registry {
    fn new() -> Registry {
        let settings = Network::new(1).settings;
        Registry { sql: HostSql::in_memory(), sockets: HostSockets::default(), object: Object::new(settings) }
    }

    fn make(&mut self, kid: &str, now: Millis) {
        let key = SigningKey { kid: kid.into(), x: "x".into(), d: "d".into() };
        self.object.add_key(&self.sql, key, now).expect("no fault is armed");
    }

    /// The signing key, and the published keys.
    fn keys(&mut self, now: Millis) -> (String, Vec<String>) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let mut ask = |call: &Call| {
            let said = self.object.answer(&ports, "__registry__", call, &String::new, now);
            said.expect("no fault is armed").answered
        };
        match (ask(&Call::SigningKey), ask(&Call::PublicKeys)) {
            (Answered::SigningKey(key), Answered::PublicKeys(keys)) => {
                (key.kid, keys.into_iter().map(|key| key.kid).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(&mut self, now: Millis, signing: &str, published: &[&str]) {
        let published = published.iter().map(|kid| (*kid).to_owned()).collect();
        assert_eq!(self.keys(now), (signing.to_owned(), published));
    }
}

#[test]
fn the_first_key_signs_at_once() {
    let mut registry = Registry::new();
    assert_eq!(registry.object.needs_key(&registry.sql, START), Ok(true));
    registry.make("a", START);
    registry.check(START, "a", &["a"]);
    assert_eq!(registry.object.needs_key(&registry.sql, START + KEY_MAX_AGE - 1), Ok(false));
}

#[test]
fn another_key_is_published_before_it_signs_and_the_old_one_after() {
    let mut registry = Registry::new();
    registry.make("a", START);
    let rotated = START + KEY_MAX_AGE;
    assert_eq!(registry.object.needs_key(&registry.sql, rotated), Ok(true));
    registry.make("b", rotated);
    // Two concurrent requests may both generate a key.
    registry.make("c", rotated);
    let signs = rotated + KEY_PUBLISHED_BEFORE;
    let dropped = signs + KEY_PUBLISHED_AFTER;
    registry.check(rotated, "a", &["a", "b"]);
    registry.check(signs - 1, "a", &["a", "b"]);
    registry.check(signs, "b", &["b", "a"]);
    registry.check(dropped - 1, "b", &["b", "a"]);
    registry.check(dropped, "b", &["b"]);
    let again = rotated + KEY_MAX_AGE;
    registry.make("d", again);
    registry.check(again, "b", &["b", "d"]);
    let rows: u32 =
        registry.sql.raw().query_row("SELECT COUNT(*) FROM webhook_keys", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2, "the private key of the first was deleted");
}

/// Receivers cache the key set for five minutes, and reject signatures older than five minutes.
#[test]
fn every_signature_can_be_verified() {
    const { assert!(KEY_PUBLISHED_BEFORE >= 300_000 + 300_000) };
    const { assert!(KEY_PUBLISHED_AFTER > SIGNING_KEY_VALID + 300_000) };
}

#[test]
fn a_key_set_has_public_parts_only() {
    let mut registry = Registry::new();
    registry.make("a", START);
    let ports = Ports { sql: &registry.sql, sockets: &registry.sockets };
    let said = registry.object.answer(&ports, "__registry__", &Call::PublicKeys, &String::new, START);
    let Answered::PublicKeys(keys) = said.expect("no fault is armed").answered else { panic!("no keys") };
    let expected = r#"{"keys":[{"alg":"EdDSA","crv":"Ed25519","kid":"a","kty":"OKP","use":"sig","x":"x"}]}"#;
    assert_eq!(key_set(&keys).to_string(), expected);
    let secret = SigningKey { kid: "a".into(), x: "x".into(), d: "secret".into() };
    assert!(!format!("{secret:?}").contains("secret"));
}
