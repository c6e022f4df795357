//! Every code of the analysis with the file in docs/ANALYSIS.md that triggers it, and files in which nothing is wrong.

use resources::parse;

use super::{ROOT, compiled};
use crate::{Code, Policies, Severity, analyze};

const PAGE: &str = include_str!("../../../../docs/ANALYSIS.md");

#[test]
fn every_code_has_its_section_and_its_file_has_the_finding() {
    for code in Code::ALL {
        let word = code.word();
        let heading = format!("\n## {word}\n");
        let section = PAGE
            .split(&heading)
            .nth(1)
            .unwrap_or_else(|| panic!("{word} has no section"));
        let section = section.split("\n## ").next().unwrap();
        assert!(section.starts_with(code.severity().word()), "{word}");
        let file = section
            .split("```yaml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let documents = parse(file, word).unwrap_or_else(|errors| panic!("{word}: {errors:?}"));
        let policies = Policies::compile(ROOT, &documents);
        let found = analyze(&policies);
        let of_code: Vec<_> = found.iter().filter(|finding| finding.code == code).collect();
        assert_eq!(of_code.len(), 1, "{word}: {found:#?}");
        assert!(!of_code[0].fix.is_empty());
        let worse = found
            .iter()
            .any(|finding| finding.code != code && finding.code.severity() == Severity::Error);
        assert!(!worse, "{word}: {found:#?}");
    }
}

const SHOP: &str = "
    se shop/details { hosts: [ details.shop.svc.cluster.local ], ports: [ { number: 80, name: main, protocol: HTTP, targetPort: 9080 } ], resolution: STATIC, workloadSelector: { labels: { app: details } } }
    we shop/details { address: 10.0.0.1, labels: { app: details }, serviceAccount: details }
";

#[test]
fn what_fits_together_has_no_findings() {
    for lines in [
        "pa istio-system/m { mtls: { mode: STRICT } }",
        "pa shop/n { mtls: { mode: STRICT } }
         dr shop/details { host: details, trafficPolicy: { tls: { mode: ISTIO_MUTUAL } } }",
        "pa shop/n { mtls: { mode: DISABLE } }
         dr shop/details { host: details, trafficPolicy: { tls: { mode: DISABLE } } }",
        "pa shop/w { selector: { matchLabels: { app: details } }, portLevelMtls: { 9080: { mode: STRICT } } }",
    ] {
        let policies = compiled(&format!("{SHOP}{lines}"));
        let found = analyze(&policies);
        assert!(found.is_empty(), "{lines}: {found:#?}");
    }
}

#[test]
fn a_clash_of_one_namespaces_clients_is_found() {
    let lines = "pa shop/n { mtls: { mode: STRICT } }
        dr web/details { host: details.shop.svc.cluster.local, trafficPolicy: { tls: { mode: DISABLE } } }";
    let policies = compiled(&format!("{SHOP}{lines}"));
    let found = analyze(&policies);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].code, Code::DisableAgainstStrict);
    assert!(
        found[0].message.contains("clients of web"),
        "{}",
        found[0].message
    );
}
