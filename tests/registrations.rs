//! Registrations from the command line, in kubectl's words: all or nothing, faults by their place, and what a change means for those
//! who renew.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Caller, Server, Wanted, fails, run, signet, wait_for};

pub(crate) const WEB: &str = "spiffe://example.org/ns/shop/sa/web";

/// A registration of [`WEB`] in namespace `shop` for join tokens, with further lines of `spec`.
pub(crate) fn registration(name: &str, more: &str) -> String {
    format!(
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  \
         spiffeId: {WEB}\n  callers: [ token ]\n{more}"
    )
}

/// `signet apply -f FILE -o json` on a text that is refused: the error object.
pub(crate) fn refused(server: &Server, text: &str) -> Value {
    let file = server.path("refused.yaml");
    std::fs::write(&file, text).expect("a file");
    let (code, said) = fails(server.signet(&["apply", "-o", "json"]).arg("-f").arg(&file));
    assert_eq!(code, 1, "{said}");
    let mut error: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(error["error"]["file"], file.display().to_string(), "{error}");
    error["error"].take()
}

/// A folder with a certificate for [`WEB`].
pub(crate) fn enrol(server: &Server, out: &str) -> PathBuf {
    let token = server.token_file(WEB, &[]);
    let folder = server.path(out);
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(token)
        .arg("--out")
        .arg(&folder));
    folder
}

fn renew(folder: &Path) -> std::process::Command {
    let mut command = signet();
    command.args(["cert", "renew", "--force"]).arg(folder);
    command
}

fn assert_not_renewed(folder: &Path, said: &[&str]) {
    let (code, text) = fails(&mut renew(folder));
    assert_eq!(code, 1, "{text}");
    for word in said {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn resources_are_applied_shown_and_deleted_in_the_words_of_kubectl() {
    let server = Server::up();
    let web = registration("web", "");
    assert_eq!(server.apply(&web), "registration.signet.dev/web created\n");
    assert_eq!(server.apply(&web), "registration.signet.dev/web unchanged\n");
    let longer = registration("web", "  life: 2h\n");
    assert_eq!(server.apply(&longer), "registration.signet.dev/web configured\n");
    for kind in [
        "registrations",
        "registration",
        "reg",
        "Registration",
        "registrations.signet.dev",
    ] {
        let table = run(&mut server.signet(&["get", kind, "-n", "shop"]));
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0], ["NAME", "SPIFFE", "ID", "AGE"], "{table}");
        assert_eq!(rows[1][..2], ["web", WEB], "{table}");
    }
    let table = run(&mut server.signet(&["get", "reg", "--all-namespaces"]));
    assert!(table.starts_with("NAMESPACE   NAME   SPIFFE ID"), "{table}");
    let one = run(&mut server.signet(&["get", "reg", "web", "-n", "shop", "-o", "json"]));
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(
        (&one["kind"], &one["spec"]["life"]),
        (&json!("Registration"), &json!("2h"))
    );
    assert!(one["metadata"]["creationTimestamp"].is_string(), "{one}");
    let told = run(&mut server.signet(&["describe", "reg", "web", "-n", "shop"]));
    for line in [
        "Name:         web",
        "Namespace:    shop",
        "Kind:         Registration",
    ] {
        assert!(told.lines().any(|told| told == line), "{line:?} is not in {told}");
    }
    let deleted = run(&mut server.signet(&["delete", "registration", "web", "-n", "shop"]));
    assert_eq!(deleted, "registration.signet.dev \"web\" deleted\n");
    let (code, said) = fails(&mut server.signet(&["delete", "registration", "web", "-n", "shop"]));
    assert!(
        code == 1 && said.contains("shop/web does not exist") && said.contains("NOT_FOUND"),
        "{said}"
    );
}

#[test]
fn an_empty_list_is_told_on_stderr_or_as_an_empty_list_in_json() {
    let server = Server::up();
    for (arguments, said) in [
        (vec!["get", "reg"], "No resources found in default namespace.\n"),
        (
            vec!["get", "reg", "-n", "shop"],
            "No resources found in shop namespace.\n",
        ),
        (vec!["get", "reg", "-A"], "No resources found\n"),
    ] {
        let output = server.signet(&arguments).output().expect("signet runs");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    }
    for namespace in [vec!["-n", "shop"], vec!["-A"]] {
        let listed = run(server.signet(&["get", "reg", "-o", "json"]).args(namespace));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!((&listed["kind"], &listed["items"]), (&json!("List"), &json!([])));
    }
}

#[test]
fn one_fault_among_many_documents_is_named_by_its_place_and_nothing_is_applied() {
    let server = Server::up();
    let good = registration("good", "");
    for (bad, field, line, column, said) in [
        (registration("bad", "  life: soon\n"), "spec.life", 14, 9, "soon"),
        (
            registration("bad", "  lifetime: 1h\n"),
            "spec.lifetime",
            14,
            3,
            "lifetime",
        ),
        (
            registration("bad", "  role: admin\n"),
            "spec.spiffeId",
            12,
            13,
            "admin",
        ),
        (registration("Bad_", ""), "metadata.name", 10, 19, "Bad_"),
        (
            registration("bad", "").replace("token", "jwt"),
            "spec.callers[0]",
            13,
            14,
            "jwt",
        ),
        // What only the server knows.
        (
            registration("bad", "").replace("example.org", "other.org"),
            "spec.spiffeId",
            12,
            13,
            "example.org",
        ),
        (
            registration("bad", "  dnsNames: [ a.b, localhost ]\n"),
            "spec.dnsNames[1]",
            14,
            20,
            "localhost",
        ),
    ] {
        let error = refused(&server, &format!("{good}---\n{bad}"));
        assert_eq!(
            (&error["kind"], &error["reason"]),
            (&json!("invalid"), &json!("RESOURCE_INVALID")),
            "{error}"
        );
        assert_eq!(error["field"], field, "{error}");
        assert_eq!(
            (&error["line"], &error["column"]),
            (&json!(line), &json!(column)),
            "{error}"
        );
        assert!(
            error["message"].as_str().expect("a text").contains(said),
            "{error}"
        );
        let listed = run(&mut server.signet(&["get", "reg", "-A", "-o", "json"]));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed["items"], json!([]), "something was applied");
    }
    let file = server.path("refused.yaml");
    std::fs::write(&file, registration("bad", "  life: soon\n")).expect("a file");
    let (_, said) = fails(server.signet(&["apply"]).arg("-f").arg(&file));
    assert!(
        said.contains(&format!("{}:7:9: spec.life: ", file.display())),
        "{said}"
    );
}

#[test]
fn resources_come_from_standard_input_and_from_the_files_of_a_folder() {
    let server = Server::up();
    let input = server.path("input.yaml");
    std::fs::write(&input, registration("web", "")).expect("a file");
    let stdin = std::fs::File::open(&input).expect("it is there");
    let said = run(server.signet(&["apply", "-f", "-"]).stdin(stdin));
    assert_eq!(said, "registration.signet.dev/web created\n");
    let folder = server.path("registrations");
    std::fs::create_dir(&folder).expect("a folder");
    for name in ["a", "b"] {
        std::fs::write(folder.join(format!("{name}.yaml")), registration(name, "")).expect("a file");
    }
    let said = run(server.signet(&["apply", "--dry-run"]).arg("-f").arg(&folder));
    assert!(
        said.starts_with("registration.signet.dev/a created (dry run)\n"),
        "{said}"
    );
    let said = run(server.signet(&["apply"]).arg("-f").arg(&folder));
    assert_eq!(
        said,
        "registration.signet.dev/a created\nregistration.signet.dev/b created\n"
    );
}

#[test]
fn deleting_many_is_all_or_nothing() {
    let server = Server::up();
    server.apply(&registration("web", ""));
    let (code, said) = fails(&mut server.signet(&["delete", "reg", "web", "nosuch", "-n", "shop"]));
    assert!(code == 1 && said.contains("nosuch"), "{said}");
    run(&mut server.signet(&["get", "reg", "web", "-n", "shop"]));
}

#[test]
fn dns_names_are_those_that_were_registered_and_no_others() {
    let server = Server::up();
    server.apply(&registration("web", "  dnsNames: [ web.shop, www.shop ]\n"));
    let token = || std::fs::read_to_string(server.token_file(WEB, &[])).expect("a token");
    let mut caller = Caller::new(&server, None);
    for (names, expected) in [
        ("", vec!["web.shop", "www.shop"]),
        ("DNS:www.shop", vec!["www.shop"]),
    ] {
        let wanted = Wanted::new(server.folder(), "granted");
        if !names.is_empty() {
            wanted.request(&["-addext", &format!("subjectAltName={names}")]);
        }
        caller
            .issue(&wanted.pem(), Some(&token()), json!({}))
            .expect("granted");
        let last = server.certificates(WEB).pop().expect("a certificate");
        assert_eq!(last["dnsNames"], json!(expected));
    }
    for (names, name) in [
        ("DNS:www.shop,DNS:db.shop", "db.shop"),
        ("DNS:*.shop", "*.shop"),
        ("IP:10.0.0.1", "10.0.0.1"),
        ("email:root@example.org", "root@example.org"),
    ] {
        let wanted = Wanted::named(server.folder(), "refused", names);
        let refused = caller
            .issue(&wanted.pem(), Some(&token()), json!({}))
            .expect_err(names);
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            ("PERMISSION_DENIED", "NAME_NOT_GRANTED")
        );
        assert!(
            refused.evidence["name"]
                .as_str()
                .expect("it is named")
                .contains(name),
            "{refused:?}"
        );
        assert!(
            refused.message.contains("shop/web") && refused.message.contains("www.shop"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_certificate_renews_only_while_the_registration_that_granted_it_exists() {
    let server = Server::up();
    server.apply(&registration("web", ""));
    let folder = enrol(&server, "web");
    run(&mut renew(&folder));
    run(&mut server.signet(&["delete", "reg", "web", "-n", "shop"]));
    let gone = ["IDENTITY_NOT_GRANTED", "shop/web", "deleted", "anew"];
    assert_not_renewed(&folder, &gone);
    server.apply(&registration("web", ""));
    assert_not_renewed(&folder, &gone);
    run(&mut renew(&enrol(&server, "again")));
}

#[test]
fn a_certificate_renews_only_while_its_registration_grants_what_it_has() {
    let server = Server::up();
    let full = registration("web", "  dnsNames: [ web.shop, www.shop ]\n");
    server.apply(&full);
    let folder = enrol(&server, "web");
    for (narrowed, said) in [
        (
            full.replace("sa/web", "sa/other"),
            ["IDENTITY_NOT_GRANTED", "no longer grants"],
        ),
        (
            full.replace("[ token ]", "[ 'jwt:k8s:x' ]"),
            ["IDENTITY_NOT_GRANTED", "no longer grants"],
        ),
        (full.replace(", www.shop", ""), ["NAME_NOT_GRANTED", "www.shop"]),
    ] {
        assert_eq!(
            server.apply(&narrowed),
            "registration.signet.dev/web configured\n"
        );
        assert_not_renewed(&folder, &said);
    }
    server.apply(&full);
    run(&mut renew(&folder));
}

#[test]
fn a_csr_without_names_does_not_slip_past_a_name_that_was_withdrawn() {
    let server = Server::up();
    server.apply(&registration("web", "  dnsNames: [ web.shop, www.shop ]\n"));
    let folder = enrol(&server, "web");
    server.apply(&registration("web", "  dnsNames: [ web.shop ]\n"));
    let csr = Wanted::new(server.folder(), "next").pem();
    let (chain, key) = (folder.join("svid.pem"), folder.join("svid_key.pem"));
    let refused = Caller::new(&server, Some((&chain, &key)))
        .issue(&csr, None, json!({}))
        .expect_err("its names are no longer granted");
    assert_eq!(
        (refused.reason.as_str(), &refused.evidence["name"]),
        ("NAME_NOT_GRANTED", &json!("www.shop"))
    );
}

#[test]
fn a_lineage_renews_no_longer_than_its_registration_says() {
    let server = Server::up();
    server.apply(&registration("web", "  renewFor: 10s\n"));
    let folder = enrol(&server, "web");
    run(&mut renew(&folder));
    let said = wait_for("the lineage to be too old", || {
        let output = renew(&folder).output().expect("signet runs");
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    for word in ["IDENTITY_NOT_GRANTED", "shop/web", "10s", "anew"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    run(&mut renew(&enrol(&server, "anew")));
}

#[test]
fn a_second_key_of_one_parent_is_refused_only_where_forks_are_and_counted_everywhere() {
    for (forks, is_refused) in [("allow", false), ("refuse", true)] {
        let server = Server::up();
        server.apply(&registration("web", &format!("  forks: {forks}\n")));
        let folder = enrol(&server, "web");
        let (chain, key) = (folder.join("svid.pem"), folder.join("svid_key.pem"));
        let mut holder = Caller::new(&server, Some((&chain, &key)));
        let first = Wanted::new(server.folder(), "first").pem();
        let second = Wanted::new(server.folder(), "second").pem();
        let renewed = holder.issue(&first, None, json!({})).expect("renewed");
        let again = holder.issue(&first, None, json!({})).expect("a lost answer");
        assert_eq!(renewed["chain"][0], again["chain"][0]);
        let fork = holder.issue(&second, None, json!({}));
        if is_refused {
            let refused = fork.expect_err("a fork");
            assert_eq!(
                (refused.code.as_str(), refused.reason.as_str()),
                ("PERMISSION_DENIED", "LINEAGE_FORK")
            );
        } else {
            fork.expect("forks are allowed");
        }
        assert_eq!(server.metric("signet_lineage_forks_total"), 1.0, "{forks}");
    }
}
