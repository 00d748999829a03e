//! A file of temperatures: CSV with a column headed `temp`, a row a reading.
//!
//! Columns may come in any order and others are passed over; fields may be quoted, lines end with LF or CRLF, and a
//! byte-order mark is no part of the header. A row whose `temp` is no number is a hole: a chip that does not answer.
//! Blank lines are no rows.

mod csv;

use std::fmt;

use csv::{Fault, Records};

/// The largest file that is replayed. It is held in memory as 8 bytes a row.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// The most rows in a file: a year of one each 16 seconds.
pub const ROWS_MAX: usize = 2_000_000;

/// The head of the column that is read.
const COLUMN: &str = "temp";

/// The unit in which a file tells its temperatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// °C.
    #[default]
    Celsius,
    /// °F.
    Fahrenheit,
}

impl Unit {
    fn to_celsius(self, degrees: f32) -> f32 {
        match self {
            Self::Celsius => degrees,
            Self::Fahrenheit => ((f64::from(degrees) - 32.0) * 5.0 / 9.0) as f32,
        }
    }
}

/// One row of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row {
    /// So warm was it, °C.
    Celsius(f32),
    /// No number on this line of the file.
    Hole {
        /// Counted from 1, as editors do.
        line: usize,
    },
}

/// The rows of a file.
#[derive(Clone, PartialEq)]
pub struct Replay {
    rows: Vec<Row>,
    fingerprint: u64,
}

/// Why a file cannot be replayed: the line, what is wrong there, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing in it.
    #[error("the file is empty; its first line must name the columns, one of them {COLUMN:?}")]
    Empty,
    /// No column is headed `temp`.
    #[error("line 1: no column is headed {COLUMN:?}; found: {0}")]
    NoColumn(String),
    /// Two columns are.
    #[error("line 1: {0} columns are headed {COLUMN:?}; one is needed")]
    TwoColumns(usize),
    /// A quote was opened and never closed.
    #[error("line {0}: a quote is opened here and never closed")]
    OpenQuote(usize),
    /// A field is longer than any of a CSV of temperatures.
    #[error("line {0}: a field has more than {max} bytes; is this a CSV file?", max = csv::FIELD_BYTES_MAX)]
    LongField(usize),
    /// A line has more fields than any of a CSV of temperatures.
    #[error("line {0}: more than {max} fields; is this a CSV file?", max = csv::FIELDS_MAX)]
    ManyFields(usize),
    /// The file is too large.
    #[error("the file has {0} bytes; at most {FILE_BYTES_MAX} are replayed")]
    TooLarge(usize),
    /// It has too many rows.
    #[error("line {0}: more than {ROWS_MAX} rows; cut the file in pieces")]
    TooManyRows(usize),
}

impl Replay {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If it is no CSV with one `temp` column, or too large.
    pub fn parse(bytes: &[u8], unit: Unit) -> Result<Self, ReplayError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(ReplayError::TooLarge(bytes.len()));
        }
        let mut records = Records::of(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
        let header = records.next().ok_or(ReplayError::Empty)?.map_err(broken)?;
        let column = column_of(&header.fields)?;
        let mut rows = Vec::new();
        for record in records {
            let record = record.map_err(broken)?;
            if rows.len() == ROWS_MAX {
                return Err(ReplayError::TooManyRows(record.line));
            }
            let degrees = record.fields.get(column).and_then(|field| number(field));
            rows.push(match degrees {
                Some(degrees) => Row::Celsius(unit.to_celsius(degrees)),
                None => Row::Hole { line: record.line },
            });
        }
        rows.shrink_to_fit();
        Ok(Self { rows, fingerprint: fingerprint(bytes) })
    }

    /// A row, counted from 0.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<Row> {
        self.rows.get(index).copied()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A number that tells this file from another.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({} rows)", self.rows.len())
    }
}

fn column_of(header: &[Vec<u8>]) -> Result<usize, ReplayError> {
    let heads: Vec<String> =
        header.iter().map(|head| String::from_utf8_lossy(head).trim().to_owned()).collect();
    let mut found = heads.iter().enumerate().filter(|(_, head)| head.eq_ignore_ascii_case(COLUMN));
    match (found.next(), found.count()) {
        (Some((column, _)), 0) => Ok(column),
        (Some(_), more) => Err(ReplayError::TwoColumns(more + 1)),
        (None, _) => {
            let short = |head: &String| format!("{:?}", head.chars().take(40).collect::<String>());
            let shown: Vec<String> = heads.iter().take(16).map(short).collect();
            Err(ReplayError::NoColumn(shown.join(", ")))
        }
    }
}

/// The field as a number that a temperature can be; what is finite but absurd, the chip will not measure either.
fn number(field: &[u8]) -> Option<f32> {
    let text = std::str::from_utf8(field).ok()?.trim();
    let digits = text.bytes().any(|byte| byte.is_ascii_digit()); // Rust also reads "inf" and "nan"
    text.parse::<f32>().ok().filter(|number| digits && number.is_finite())
}

fn broken(fault: Fault) -> ReplayError {
    match fault {
        Fault::OpenQuote { line } => ReplayError::OpenQuote(line),
        Fault::LongField { line } => ReplayError::LongField(line),
        Fault::ManyFields { line } => ReplayError::ManyFields(line),
    }
}

/// FNV-1a: the same for the same file on every machine and in every version, which std's hasher does not promise.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        Replay::parse(text.as_bytes(), Unit::Celsius).unwrap().rows
    }

    fn error(text: &str) -> String {
        Replay::parse(text.as_bytes(), Unit::Celsius).unwrap_err().to_string()
    }

    #[test]
    fn the_column_is_found_wherever_it_stands_and_others_are_passed_over() {
        for text in [
            "temp\n21.5\n",
            "date,temp\nx,21.5",
            "\u{feff}a, Temp ,b\r\n1,21.5,\"x\ny\"\r\n",
            "a,\"temp\"\n,\"21.5\"",
        ] {
            assert_eq!(rows(text), [Row::Celsius(21.5)], "{text:?}");
        }
    }

    #[test]
    fn a_row_without_a_number_is_a_hole_on_its_line() {
        let text = "date,temp\n1,20\n2,\n3,n/a\n4\n5,nan\n6,inf\n7,1e99\n\n8,-0.5\n";
        let hole = |line| Row::Hole { line };
        let expected =
            [Row::Celsius(20.0), hole(3), hole(4), hole(5), hole(6), hole(7), hole(8), Row::Celsius(-0.5)];
        assert_eq!(rows(text), expected);
    }

    #[test]
    fn lines_are_counted_through_quoted_line_breaks() {
        assert_eq!(rows("note,temp\n\"a\nb\nc\",20\nd,\n"), [Row::Celsius(20.0), Row::Hole { line: 5 }]);
    }

    #[test]
    fn fahrenheit_becomes_celsius() {
        let replay = Replay::parse(b"temp\n68\n-40\n", Unit::Fahrenheit).unwrap();
        assert_eq!(replay.rows, [Row::Celsius(20.0), Row::Celsius(-40.0)]);
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_by_line_with_what_would_be_right() {
        assert_eq!(
            error(""),
            "the file is empty; its first line must name the columns, one of them \"temp\""
        );
        assert_eq!(
            error("date,temperature\n1,2\n"),
            "line 1: no column is headed \"temp\"; found: \"date\", \"temperature\""
        );
        assert_eq!(error("temp,temp\n1,2\n"), "line 1: 2 columns are headed \"temp\"; one is needed");
        assert_eq!(error("temp\n1\n\"2\n3\n"), "line 3: a quote is opened here and never closed");
        let long = format!("temp\n1\n{}\n", "x".repeat(csv::FIELD_BYTES_MAX + 1));
        assert_eq!(error(&long), "line 3: a field has more than 4096 bytes; is this a CSV file?");
    }

    #[test]
    fn a_file_with_as_many_rows_as_may_be_is_read_and_one_more_is_refused() {
        let mut text = format!("temp\n{}", "1\n".repeat(ROWS_MAX));
        assert_eq!(rows(&text).len(), ROWS_MAX);
        text.push('2');
        assert_eq!(
            error(&text),
            format!("line {}: more than 2000000 rows; cut the file in pieces", ROWS_MAX + 2)
        );
        let large = vec![b' '; FILE_BYTES_MAX + 1];
        assert!(matches!(Replay::parse(&large, Unit::Celsius), Err(ReplayError::TooLarge(_))));
    }

    #[test]
    fn another_file_has_another_fingerprint() {
        let of = |text: &str| Replay::parse(text.as_bytes(), Unit::Celsius).unwrap().fingerprint();
        assert_eq!(of("temp\n1\n"), of("temp\n1\n"));
        assert_ne!(of("temp\n1\n"), of("temp\n2\n"));
    }
}
