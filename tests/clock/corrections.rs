//! What was made while the clock was ahead, after its correction was accepted: certificates, join tokens, a
//! root.

use super::*;

#[test]
fn what_was_issued_while_the_clock_was_ahead_renews_once_the_correction_is_accepted() {
    let fixture = Fixture::up().restart("+3d");
    let server = &fixture.server;
    let (web, token) = (server.path("web"), server.token_file(WEB, &[]));
    // The clock of the client is ahead, too.
    run(issuance(&token, &web).envs(fixture.clock.environment()));
    let offered = server.token_file(LATER, &["--ttl", "5m"]);

    fixture.clock.set("+0");
    fixture.becomes_disputed();
    assert_eq!(fixture.json(&["server", "accept-clock"])["accepted"], true);
    fixture.becomes_ready();
    run(&mut renewal(&web));
    // Once more, with a certificate that is valid by now.
    run(&mut renewal(&web));
    run(ask_openssl(&["x509", "-noout", "-checkend", "0", "-in"]).arg(web.join("svid.pem")));
    let text = run(ask_openssl(&["verify", "-CAfile"])
        .arg(web.join("bundle.pem"))
        .arg("-untrusted")
        .arg(web.join("svid.pem"))
        .arg(web.join("svid.pem")));
    assert!(text.contains("OK"), "{text}");

    // A token of five minutes stays one of five minutes.
    let tokens = fixture.json(&["token", "list"]);
    let mut items = tokens["items"].as_array().expect("a list").iter();
    let item = items.find(|item| item["spiffeId"] == LATER).expect("the token");
    let expiry = item["expiresAt"].as_str().expect("a time");
    let soon = identity::moment(SystemClock.now() + time::Duration::minutes(6));
    assert!(expiry < soon.as_str(), "{expiry}");
    run(&mut issuance(&offered, &server.path("later")));
}

#[test]
fn a_root_from_the_future_is_reported_once_with_what_to_do() {
    let fixture = Fixture::start_in(TempDir::new().expect("a temporary folder"), "+3d");
    fixture.clock.set("+0");
    fixture.becomes_disputed();
    let accepted = fixture.json(&["server", "accept-clock"]);
    assert_eq!(accepted["accepted"], true);
    let advice = accepted["advice"].as_str().unwrap_or_default();
    assert!(
        advice.contains("the root begins at") && advice.contains("new data folder"),
        "{accepted}"
    );
    wait_for("the advice to be the reason", || {
        fixture.readiness().contains("new data folder").then_some(())
    });
    let said = run(&mut fixture.server.signet(&["server", "accept-clock"]));
    assert!(said.contains("new data folder"), "{said}");

    // Each of these makes the server look again.
    for name in ["one", "two", "three"] {
        fixture.server.apply(&registration(name));
    }
    let fixture = fixture.restart("+0");
    assert!(fixture.readiness().contains("new data folder"));
    let log = fixture.server.log();
    assert_eq!(
        log.matches("new data folder").count(),
        2,
        "once in each process: {log}"
    );
}
