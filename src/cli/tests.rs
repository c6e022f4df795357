//! The command line as a whole: help is as it was agreed, and grouped help names every verb.

use clap::CommandFactory as _;

use super::*;

/// Help of every verb, in files under `snapshots/`; `SIGNET_SNAPSHOTS=write` writes them anew.
#[test]
fn help_is_as_it_was_agreed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/snapshots");
    let write = std::env::var_os("SIGNET_SNAPSHOTS").is_some_and(|word| word == "write");
    let mut wrong = Vec::new();
    for words in all_words(&Cli::command(), "signet") {
        let help = help(&words);
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

/// What `--help` after these words prints, on a terminal of 100 columns.
fn help(words: &str) -> String {
    let line = words.split(' ').chain(["--help"]);
    let printed = Cli::command()
        .term_width(100)
        .try_get_matches_from(line)
        .unwrap_err();
    assert!(!printed.use_stderr(), "{words} --help is an error");
    let printed = printed.to_string();
    printed
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The words of each command, the program's own among them.
fn all_words(command: &clap::Command, words: &str) -> Vec<String> {
    let inner = command.get_subcommands();
    let below = inner.flat_map(|inner| all_words(inner, &format!("{words} {}", inner.get_name())));
    std::iter::once(words.to_owned()).chain(below).collect()
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
    let help = help("signet");
    for words in all_words(&Cli::command(), "signet") {
        let verb = words.rsplit(' ').next().unwrap();
        assert!(help.contains(&format!(" {verb}")), "{words} is missing");
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
