//! The rules for webhook URLs (PROTOCOL.md 6.2 and 12.8). Each refused row attempts to reach a host that is not public.

use durable_streams::protocol::subscription::webhook_url::{URL_MAX_BYTES, UrlRules, parse_hosts};

const ALLOWED: [&str; 12] = [
    "https://example.com",
    "https://example.com/",
    "https://example.com/hooks?a=b&c=%20d",
    "https://example.com?a",
    "https://example.com:443/",
    "https://example.com:1024/",
    "https://example.com:65535/",
    "https://a-b.c1.example.co.uk/",
    "https://xn--bcher-kva.example/",
    "https://1.2.3.4.example.com/",
    "https://localhost.example.com/",
    "https://notlocal.example/a:b@c[d]",
];

const REFUSED: [&str; 88] = [
    // Other schemes and spellings.
    "",
    "example.com",
    "//example.com",
    "http://example.com/",
    "HTTPS://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,a",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    " https://example.com",
    "https://example.com ",
    "https://exa mple.com",
    "https://example.com\n",
    "https://example.com\t/",
    "https://example.com\\@10.0.0.1/",
    "https://example.com#a",
    "https://example.com/#",
    "https://example.com/<a>",
    "https://example.com/\"",
    // Other hosts.
    "https://",
    "https://?a",
    "https://EXAMPLE.com/",
    "https://exämple.com/",
    "https://ex\u{ad}ample.com/",
    "https://example。com/",
    "https://①②⑦.0.0.1/",
    "https://exa%6Dple.com/",
    "https://-a.example.com/",
    "https://a-.example.com/",
    "https://a_b.example.com/",
    "https://.example.com/",
    "https://example..com/",
    "https://example.com./",
    "https://localhost./",
    "https://example.com,a/",
    "https://example.com;a/",
    // User information.
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@10.0.0.1/",
    "https://example.com:443@10.0.0.1/",
    "https://@example.com/",
    "https://:@example.com/",
    // IPv4, in decimal, octal, hexadecimal and short forms.
    "https://127.0.0.1/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://8.8.8.8/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0.0.0x1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0177.0.0.1/",
    "https://00000177.0.0.1/",
    "https://1.1.1.1./",
    "https://example.1/",
    "https://example.0x1/",
    "https://256.256.256.256/",
    // IPv6.
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://::1/",
    // Names of local networks.
    "https://localhost/",
    "https://a.localhost/",
    "https://metadata/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://a.home.arpa/",
    "https://router.lan/",
    "https://wiki.corp/",
    "https://wiki.intranet/",
    "https://a.localdomain/",
    // Ports.
    "https://example.com:80/",
    "https://example.com:22/",
];

const REFUSED_PORTS: [&str; 7] = ["", "0", "1023", "65536", "443443", "a", "+443"];

#[test]
fn only_public_names_over_https_are_allowed() {
    let rules = UrlRules::default();
    for url in ALLOWED {
        assert_eq!(rules.check(url), Ok(()), "{url}");
    }
    for url in REFUSED {
        assert!(rules.check(url).is_err(), "{url}");
    }
    for port in REFUSED_PORTS {
        assert!(rules.check(&format!("https://example.com:{port}/")).is_err(), "{port}");
    }
}

#[test]
fn long_urls_and_names_are_refused() {
    let rules = UrlRules::default();
    let url = format!("https://example.com/{}", "a".repeat(URL_MAX_BYTES - 20));
    assert_eq!(rules.check(&url), Ok(()));
    assert!(rules.check(&format!("{url}a")).is_err());
    let label = "a".repeat(63);
    assert_eq!(rules.check(&format!("https://{label}.example/")), Ok(()));
    assert!(rules.check(&format!("https://{label}a.example/")).is_err());
    assert!(rules.check(&format!("https://{}example/", "a.".repeat(124))).is_err());
}

/// Loopback over `http` is for a receiver on the developer's own machine.
#[test]
fn loopback_is_allowed_only_where_the_deployment_says_so() {
    let rules = UrlRules { allows_loopback: true, ..UrlRules::default() };
    let loopback = ["localhost", "127.0.0.1", "127.0.0.255"];
    for host in loopback {
        for url in [format!("http://{host}:9/a"), format!("http://{host}"), format!("https://{host}:9/")] {
            assert_eq!(rules.check(&url), Ok(()), "{url}");
            assert!(UrlRules::default().check(&url).is_err(), "{url}");
        }
    }
    for host in ["127.0.1.1", "127.0.0.01", "127.0.0.256", "127.0.0.", "127.1", "10.0.0.1", "[::1]"] {
        assert!(rules.check(&format!("http://{host}/")).is_err(), "{host}");
    }
    for url in ["http://example.com/", "http://localhost.example.com/", "http://localhost@10.0.0.1/"] {
        assert!(rules.check(url).is_err(), "{url}");
    }
}

#[test]
fn own_hosts_are_refused() {
    let rules = UrlRules { own_hosts: vec!["streams.example.com".into()], ..UrlRules::default() };
    assert!(rules.check("https://streams.example.com/v1/stream/a").is_err());
    assert!(rules.check("https://streams.example.com:8443/").is_err());
    assert_eq!(rules.check("https://example.com/"), Ok(()));
}

#[test]
fn webhook_hosts_are_the_only_hosts_where_they_are_set() {
    let hosts = parse_hosts("\n hooks.Example.com,\t*.example.org\r\n  ");
    assert_eq!(hosts, ["hooks.example.com", "*.example.org"]);
    let rules = UrlRules { hosts: Some(hosts), ..UrlRules::default() };
    for host in ["hooks.example.com", "a.example.org", "a.b.example.org"] {
        assert_eq!(rules.check(&format!("https://{host}/")), Ok(()), "{host}");
    }
    for host in
        ["example.org", "aexample.org", "a.hooks.example.com", "example.com", "a.example.org.evil.com"]
    {
        assert!(rules.check(&format!("https://{host}/")).is_err(), "{host}");
    }
    // No entry can allow a host that is always refused.
    let rules = UrlRules { hosts: Some(parse_hosts("*.internal 10.0.0.1 localhost")), ..UrlRules::default() };
    for host in ["a.internal", "10.0.0.1", "localhost"] {
        assert!(rules.check(&format!("https://{host}/")).is_err(), "{host}");
    }
}
