//! Commands of `ExecStart=`, taken apart and put together again with `kubensenter` before them.

use std::path::Path;

use super::Refusal;

/// Programs that enter by themselves.
const WRAPPERS: [&str; 2] = ["kubensenter", "kubenswrapper"];

/// One command of systemd.service(5), "COMMAND LINES".
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// `-@:+!`, as written.
    pub(super) prefixes: &'a str,
    /// The quote before the prefixes, if the whole first word is quoted.
    quote: &'a str,
    /// The words as written, with their quotes; of the first what follows the prefixes.
    words: Vec<&'a str>,
}

impl Command<'_> {
    pub(super) fn program(&self) -> &str {
        self.words[0].trim_matches(['"', '\''])
    }

    pub(super) fn is_wrapped(&self) -> bool {
        let name = Path::new(self.program()).file_name();
        name.is_some_and(|name| WRAPPERS.iter().any(|wrapper| name == *wrapper))
    }

    /// Runs as root whatever `User=` says. `!!` does so only on kernels without ambient capabilities.
    pub(super) fn is_privileged(&self) -> bool {
        self.prefixes.contains('+')
            || (self.prefixes.contains('!') && !self.prefixes.contains("!!"))
    }

    pub(super) fn wrapped(&self, kubensenter: &Path) -> String {
        let (prefixes, quote, first) = (self.prefixes, self.quote, self.words[0]);
        if self.is_wrapped() {
            return [
                &format!("{prefixes}{quote}{first}"),
                &self.words[1..].join(" "),
            ]
            .map(String::as_str)
            .join(" ")
            .trim_end()
            .to_owned();
        }
        // After `@`, the second word is what the program finds as its own name. It is kubensenter's to pass on.
        let (argv0, rest) = if prefixes.contains('@') {
            (format!(" --argv0 {}", self.words[1]), &self.words[2..])
        } else {
            (String::new(), &self.words[1..])
        };
        let prefixes = prefixes.replace('@', "");
        let mut line = format!("{prefixes}{}{argv0} {quote}{first}", kubensenter.display());
        for word in rest {
            line.push(' ');
            line.push_str(word);
        }
        line
    }
}

/// Reads the commands of one `ExecStart=`.
pub(super) fn parse<'a>(service: &str, text: &'a str) -> Result<Vec<Command<'a>>, Refusal> {
    let refuse = |why| Refusal::Command {
        service: service.into(),
        command: text.into(),
        why,
    };
    let words = split(text).ok_or_else(|| refuse("a quote is not closed"))?;
    let mut commands = Vec::new();
    for words in words
        .split(|word| *word == ";")
        .filter(|words| !words.is_empty())
    {
        let (first, mut quote) = (words[0], "");
        let mut rest = first;
        if first.starts_with(['"', '\'']) && first[1..].starts_with(PREFIXES) {
            (quote, rest) = first.split_at(1);
        }
        let program = rest.trim_start_matches(PREFIXES);
        let prefixes = &rest[..rest.len() - program.len()];
        if prefixes.contains('|') {
            return Err(refuse("the prefix | (a shell) cannot be kept"));
        }
        if program.trim_matches(['"', '\'']).is_empty() {
            return Err(refuse("there is no program"));
        }
        let words: Vec<_> = std::iter::once(program)
            .chain(words[1..].iter().copied())
            .collect();
        if prefixes.contains('@') && words.len() < 2 {
            return Err(refuse("the prefix @ wants a name after the program"));
        }
        commands.push(Command {
            prefixes,
            quote,
            words,
        });
    }
    Ok(commands)
}

const PREFIXES: [char; 6] = ['-', '@', ':', '+', '!', '|'];

/// Words as they are written; `None` if a quote is not closed.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (_, '\\') => {
                escaped = true;
                start.get_or_insert(at);
            }
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => {
                quote = Some(character);
                start.get_or_insert(at);
            }
            (None, ' ' | '\t') => words.extend(start.take().map(|start| &text[start..at])),
            (None, _) => {
                start.get_or_insert(at);
            }
        }
    }
    words.extend(start.map(|start| &text[start..]));
    quote.is_none().then_some(words)
}
