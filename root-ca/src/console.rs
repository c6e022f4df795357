//! Where the ceremony speaks and asks. Tests bring their own.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::CeremonyError;

/// Results go to `out`; questions go to `prompt` and answers come from `answers`, if somebody is there to give them.
pub struct Console<'a> {
    out: Box<dyn Write + 'a>,
    prompt: Box<dyn Write + 'a>,
    answers: Option<Box<dyn BufRead + 'a>>,
}

impl<'a> Console<'a> {
    /// Standard output, and standard error and input for questions if both are a terminal.
    pub fn of_process() -> Console<'static> {
        let there = io::stdin().is_terminal() && io::stderr().is_terminal();
        Console {
            out: Box::new(io::stdout()),
            prompt: Box::new(io::stderr()),
            answers: there.then(|| Box::new(io::stdin().lock()) as Box<dyn BufRead>),
        }
    }

    /// A console of these parts; without `answers` nobody is there.
    pub fn new(
        out: impl Write + 'a,
        prompt: impl Write + 'a,
        answers: Option<Box<dyn BufRead + 'a>>,
    ) -> Self {
        Self {
            out: Box::new(out),
            prompt: Box::new(prompt),
            answers,
        }
    }

    /// Prints a result and a line end.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), CeremonyError> {
        writeln!(self.out, "{text}")
            .and_then(|()| self.out.flush())
            .map_err(|source| CeremonyError::Terminal { source })
    }

    /// Shows what is about to be done and asks whether to do it; only `y` and `yes` mean yes. `None` if nobody is there.
    pub(crate) fn ask(&mut self, about: &str, question: &str) -> Result<Option<bool>, CeremonyError> {
        let Some(answers) = self.answers.as_mut() else {
            return Ok(None);
        };
        let mut answer = String::new();
        write!(self.prompt, "{about}\n{question} [y/N] ")
            .and_then(|()| self.prompt.flush())
            .and_then(|()| answers.read_line(&mut answer))
            .map_err(|source| CeremonyError::Terminal { source })?;
        Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
    }
}
