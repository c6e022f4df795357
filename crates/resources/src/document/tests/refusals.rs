//! Specs that are refused, and how the message about each begins behind the file name; the spec begins on line 5.

pub(super) const OF_SPEC: &[(&str, &str)] = &[
    ("callers: [ token ]", "5:3: spec.spiffeId: missing"),
    (
        "spiffeId: a\ncallers: [ token ]",
        "5:13: spec.spiffeId: found \"a\", expected spiffe://",
    ),
    ("spiffeId: /a//b\ncallers: [ token ]", "5:13: spec.spiffeId: "),
    (
        "spiffeId: /admin/x\ncallers: [ token ]",
        "5:13: spec.spiffeId: path /admin/ is reserved, found role workload, expected role admin",
    ),
    (
        "role: admin\nspiffeId: /a\ncallers: [ token ]",
        "6:13: spec.spiffeId: found \"/a\", expected a path /admin/...",
    ),
    (
        "spiffeId: /server/x\ncallers: [ token ]",
        "5:13: spec.spiffeId: path /server/ is reserved for the authority",
    ),
    (
        "role: server\nspiffeId: /server/x\ncallers: [ token ]",
        "5:9: spec.role: found \"server\", expected workload",
    ),
    (
        "spiffeId: '/{{ jwt.namespace }}/x'\ncallers: [ 'jwt:k:*' ]",
        "5:13: spec.spiffeId: first segment of the path is a variable",
    ),
    (
        "spiffeId: '/a/{{ jwt.sub }}'\ncallers: [ 'jwt:k:*' ]",
        "5:13: spec.spiffeId: unknown variable \"jwt.sub\"",
    ),
    (
        "spiffeId: '/a/{{ jwt.namespace }}'\ncallers: [ token ]",
        "5:13: spec.spiffeId: jwt.namespace cannot come from any",
    ),
    (
        "spiffeId: '/a/{{ unix.user }}'\ncallers: [ token ]",
        "5:13: spec.spiffeId: unix.user cannot come from any",
    ),
    (
        "spiffeId: /a\nlife: 5 parsecs\ncallers: [ token ]",
        "6:9: spec.life: found \"5 parsecs\", expected a duration such as 90s, 24h",
    ),
    (
        "spiffeId: /a\nlife: 60\ncallers: [ token ]",
        "6:9: spec.life: found 60, expected a duration",
    ),
    (
        "spiffeId: /a\nlife: 9s\ncallers: [ token ]",
        "6:9: spec.life: found \"9s\", expected a duration of at least 10s",
    ),
    (
        "spiffeId: /a\njwtLife: '0'\ncallers: [ token ]",
        "6:12: spec.jwtLife: found \"0\", expected",
    ),
    (
        "spiffeId: /a\nlife: 1h\nmaxLife: 30m\ncallers: [ token ]",
        "7:12: spec.maxLife: found \"30m\", expected at least the life, 1h",
    ),
    (
        "spiffeId: /a",
        "5:3: spec.callers: missing, expected at least one of callers, nodes with match, impersonators",
    ),
    ("spiffeId: /a\ncallers: []", "5:3: spec.callers: missing"),
    (
        "spiffeId: /a\nnodes: [ x ]",
        "6:10: spec.nodes: nodes without match",
    ),
    (
        "spiffeId: /a\nmatch: [ 'unix:uid:0' ]",
        "6:10: spec.match: match without nodes",
    ),
    (
        "spiffeId: /a\ncallers:\n  - token\n  - password",
        "8:7: spec.callers[1]: found \"password\", expected token, jwt:",
    ),
    (
        "spiffeId: /a\ncallers: [ 'jwt:self:details' ]",
        "6:14: spec.callers[0]: found \"jwt:self:details\"",
    ),
    (
        "spiffeId: /a\nnodes: [ n ]\nmatch: [ 'unix:uid:root' ]",
        "7:12: spec.match[0]: found \"unix:uid:root\", expected unix:uid",
    ),
    (
        "spiffeId: /a\nimpersonators: [ /x ]",
        "6:20: spec.impersonators[0]: found \"/x\", expected a SPIFFE ID",
    ),
    (
        "spiffeId: /a\ndnsNames: [ A.b, '*.b' ]\ncallers: [ token ]",
        "6:20: spec.dnsNames[1]: \"*.b\" is not a DNS name",
    ),
    (
        "spiffeId: /a\ndnsNames: [ 10.9.8.7 ]\ncallers: [ token ]",
        "6:15: spec.dnsNames[0]: \"10.9.8.7\" reads as an address",
    ),
    (
        "spiffeId: /a\ndnsNames: [ '2130706433' ]\ncallers: [ token ]",
        "6:15: spec.dnsNames[0]: \"2130706433\" reads as an address",
    ),
    (
        "spiffeId: /a\ndnsNames: [ a.b, c.d, A.b. ]\ncallers: [ token ]",
        "6:25: spec.dnsNames[2]: a.b is listed twice",
    ),
    (
        "spiffeId: /a\ndefault: yes\ncallers: [ token ]",
        "6:12: spec.default: found \"yes\", expected true or false",
    ),
    (
        "spiffeId: /a\nforks: maybe\ncallers: [ token ]",
        "6:10: spec.forks: found \"maybe\", expected allow or refuse",
    ),
    (
        "spiffeId: /a\nworkload: { addresses: [ 10.0.0.1/8 ] }\ncallers: [ token ]",
        "6:28: spec.workload.addresses[0]: found \"10.0.0.1/8\"",
    ),
    (
        "spiffeId: /a\ncallers: [ token ]\ncaller: x",
        "7:3: spec.caller: unknown field, expected one of role, spiffeId",
    ),
];
