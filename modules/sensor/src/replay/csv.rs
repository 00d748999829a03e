//! CSV as RFC 4180 tells it, and a little more kindly: records one after the other, with the line each begins on.

/// The longest field; a column of temperatures has nothing like it.
pub(super) const FIELD_BYTES_MAX: usize = 4096;

/// The most fields of a record.
pub(super) const FIELDS_MAX: usize = 1024;

/// One record.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// The line it begins on, counted from 1.
    pub(super) line: usize,
    /// Its fields, unquoted.
    pub(super) fields: Vec<Vec<u8>>,
}

/// What is no CSV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    OpenQuote { line: usize },
    LongField { line: usize },
    ManyFields { line: usize },
}

/// The records of a text; blank lines are none.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Records<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { rest: text, line: 1 }
    }

    /// Takes one field off the front, and says whether it was the last of its record.
    fn field(&mut self) -> Result<(Vec<u8>, bool), Fault> {
        let begins = self.line;
        let (mut field, mut quoted) = (Vec::new(), false);
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'"' if quoted && rest.first() == Some(&b'"') => {
                    self.rest = &rest[1..];
                    field.push(b'"');
                }
                b'"' if quoted => quoted = false,
                b'"' if field.iter().all(u8::is_ascii_whitespace) => {
                    field.clear();
                    quoted = true;
                }
                b',' if !quoted => return Ok((field, false)),
                b'\n' => {
                    self.line += 1;
                    if !quoted {
                        return Ok((field, true));
                    }
                    field.push(byte);
                }
                b'\r' if !quoted && matches!(rest.first(), Some(b'\n') | None) => {}
                byte => field.push(byte),
            }
            if field.len() > FIELD_BYTES_MAX {
                return Err(Fault::LongField { line: begins });
            }
        }
        if quoted { Err(Fault::OpenQuote { line: begins }) } else { Ok((field, true)) }
    }

    fn record(&mut self) -> Result<Record, Fault> {
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let (field, last) = self.field()?;
            if fields.len() == FIELDS_MAX {
                return Err(Fault::ManyFields { line });
            }
            fields.push(field);
            if last {
                return Ok(Record { line, fields });
            }
        }
    }

    fn skip_blank_lines(&mut self) {
        loop {
            let blank = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            match self.rest.get(blank) {
                Some(b'\n') => {
                    self.rest = &self.rest[blank + 1..];
                    self.line += 1;
                }
                None => return self.rest = &[],
                Some(_) => return,
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blank_lines();
        (!self.rest.is_empty()).then(|| {
            let record = self.record();
            if record.is_err() {
                self.rest = &[]; // what follows a broken record has no certain beginning
            }
            record
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        let text_of = |field: Vec<u8>| String::from_utf8(field).unwrap();
        Records::of(text.as_bytes())
            .map(|record| record.unwrap().fields.into_iter().map(text_of).collect())
            .collect()
    }

    #[test]
    fn quotes_keep_commas_line_breaks_and_doubled_quotes() {
        assert_eq!(
            fields("a,\"b,c\"\r\n\"d\ne\",\"say \"\"hi\"\"\"\r\n"),
            [["a", "b,c"], ["d\ne", "say \"hi\""]]
        );
    }

    #[test]
    fn the_last_line_needs_no_end_and_blank_lines_are_no_records() {
        assert_eq!(fields("\n a,b\n\n \t\r\nc,d"), [[" a", "b"], ["c", "d"]]);
        assert_eq!(fields("a,\n,b\n"), [["a", ""], ["", "b"]]);
    }

    #[test]
    fn a_record_has_as_many_fields_as_may_be_and_not_one_more() {
        let of = |commas| Records::of(&vec![b','; commas]).next().unwrap().map(|record| record.fields.len());
        assert_eq!(of(FIELDS_MAX - 1), Ok(FIELDS_MAX));
        assert_eq!(of(FIELDS_MAX), Err(Fault::ManyFields { line: 1 }));
    }
}
