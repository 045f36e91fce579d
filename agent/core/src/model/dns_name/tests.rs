use super::*;

#[test]
fn names_are_taken_as_dns_sees_them() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), 253);
    let cases = [
        ("example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("localhost", "localhost"),
        ("_sip._tcp.x-1.example", "_sip._tcp.x-1.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        (&longest, &longest),
    ];
    for (text, name) in cases {
        assert_eq!(text.parse::<DnsName>().unwrap().as_str(), name, "{text}");
    }
    let with_dot = format!("{longest}.");
    assert_eq!(with_dot.parse::<DnsName>().unwrap().as_str(), longest);
}

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    let label = "a".repeat(64);
    let long = "a.".repeat(127) + "b";
    let cases = [
        ("", "empty"),
        (".", "empty"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a..", "empty label"),
        ("*.example.com", "'*'"),
        ("a b", "' '"),
        ("b\u{fc}cher.example", "'\u{fc}'"),
        (&label, "longer than 63"),
        (&long, "longer than 253"),
    ];
    for (text, reason) in cases {
        let error = text.parse::<DnsName>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?} gave {error:?}");
    }
    let endless = "?".repeat(100_000).parse::<DnsName>().unwrap_err();
    assert!(endless.to_string().len() < 400, "an error stays readable");
}

#[test]
fn text_becomes_a_name_and_back() {
    let name = DnsName::try_from("WWW.example.com.".to_owned()).unwrap();
    assert_eq!(String::from(name), "www.example.com");
    assert!(DnsName::try_from("*".to_owned()).is_err());
}
