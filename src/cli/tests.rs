//! The command line as a whole: help is as it was agreed, and grouped help names every verb.

use clap::CommandFactory as _;

use super::*;

/// Help of every verb, in files under `snapshots/`; `SIGNET_SNAPSHOTS=write` writes them anew.
#[test]
fn help_is_as_it_was_agreed_and_every_verb_has_an_example() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/snapshots");
    let write = std::env::var_os("SIGNET_SNAPSHOTS").is_some_and(|word| word == "write");
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut wrong = Vec::new();
    for (words, help) in helps(&mut command) {
        let path = folder.join(format!("{}.txt", words.replace(' ', "-")));
        if write {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &help).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != help {
            wrong.push(words);
        }
    }
    assert!(
        wrong.is_empty(),
        "help differs from src/cli/snapshots (SIGNET_SNAPSHOTS=write accepts it): {wrong:?}"
    );
}

/// Words of each command, with its help.
fn helps(command: &mut clap::Command) -> Vec<(String, String)> {
    let name = command.get_bin_name().unwrap_or("signet").to_owned();
    let help: String = command
        .render_long_help()
        .to_string()
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    let mut all = vec![(name, help)];
    for inner in command.get_subcommands_mut() {
        all.extend(helps(inner));
    }
    all
}

#[test]
fn every_leaf_verb_has_an_example() {
    fn check(command: &clap::Command, words: &str) {
        let is_leaf = command.get_subcommands().next().is_none();
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(!is_leaf || after.contains("Example"), "{words} has no example");
        for inner in command.get_subcommands() {
            check(inner, &format!("{words} {}", inner.get_name()));
        }
    }
    check(&Cli::command(), "signet");
}

#[test]
fn the_grouped_help_names_every_verb_and_fits_one_screen() {
    let help = Cli::command().render_help().to_string();
    for verb in Cli::command().get_subcommands() {
        let name = verb.get_name();
        assert!(
            help.contains(&format!("  {name}")) || help.contains(&format!(" {name}")),
            "{name} is missing"
        );
        for inner in verb.get_subcommands() {
            assert!(
                help.contains(inner.get_name()),
                "{name} {} is missing",
                inner.get_name()
            );
        }
    }
    assert!(help.lines().count() <= 40, "{} lines", help.lines().count());
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn a_data_folder_may_stand_before_or_after_the_verb() {
    for line in ["signet --data /d up", "signet up --data /d"] {
        let cli = parse(line).unwrap();
        let Verb::Up(args) = cli.verb else {
            panic!("not up");
        };
        assert_eq!(args.data.as_deref(), Some(std::path::Path::new("/d")), "{line}");
    }
    for line in ["signet --data /d token list", "signet token list --data /d"] {
        assert_eq!(
            parse(line).unwrap().global.data.as_deref(),
            Some(std::path::Path::new("/d")),
            "{line}"
        );
    }
}

#[test]
fn arguments_that_exclude_each_other_are_refused() {
    for line in [
        "signet cert issue --token-file a --jwt-file b --out d",
        "signet cert issue --certificate c --out d",
        "signet cert revoke 0a --spiffe-id spiffe://td/a",
        "signet cert revoke",
        "signet get reg web -A",
        "signet get pods",
        "signet delete reg",
        "signet explain identity --csr a",
        "signet token create --spiffe-id not-one",
        "signet journal verify --head 0a",
        "signet apply",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn exec_takes_the_rest_of_the_line_as_it_is() {
    let cli = parse("signet cert renew d --daemon --exec systemctl reload --no-block nginx").unwrap();
    let text = format!("{:?}", cli.verb);
    assert!(
        text.contains(r#"["systemctl", "reload", "--no-block", "nginx"]"#),
        "{text}"
    );
}
