//! A file of JSON lines that outlives its service: what was written is on disk before anybody is told. Stands where a
//! database will stand.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::StartError;

/// Appends lines to a file that nobody else has open as a journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Up to where the file is whole.
    length: u64,
    /// After a write that failed nobody knows what is behind that.
    failed: bool,
}

impl Journal {
    /// Opens a journal, or begins one, and reads what is in it. The end of a line that was cut off, by the death of its
    /// service or of the machine, was never acknowledged and goes.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), StartError> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| {
            Err(format!("cannot {what} the journal {}: {error}", path.display()))
        };
        let opened = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => return cannot("open", &error),
        };
        if let Err(error) = file.try_lock() {
            return cannot("lock", &error);
        }
        let mut bytes = Vec::new();
        if let Err(error) = file.read_to_end(&mut bytes) {
            return cannot("read", &error);
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = Vec::new();
        for (number, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(line) => lines.push(line),
                Err(error) => return cannot(&format!("read line {} of", number + 1), &error),
            }
        }
        let mut journal = Self { file, length: whole as u64, failed: false };
        // The directory, too: a new file is only there once its name is on disk.
        let mended = journal.cut().and_then(|()| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        });
        match mended {
            Ok(()) => Ok((journal, lines)),
            Err(error) => cannot("mend", &error),
        }
    }

    /// Writes a line. Once this returns it is on disk, for good; if it fails, it is not in the file, nor ever will be.
    pub fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        if self.failed {
            self.cut()?;
        }
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
        bytes.push(b'\n');
        self.failed = true;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.failed = false;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Takes away what is behind the last whole line.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_stay_and_half_a_line_goes() {
        let path = std::env::temp_dir().join(format!("bookshop-journal-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let (mut journal, lines) = Journal::open::<u32>(&path).unwrap();
        assert!(lines.is_empty());
        journal.append(&1).unwrap();
        journal.append(&2).unwrap();
        assert!(Journal::open::<u32>(&path).unwrap_err().contains("cannot lock"), "two at once");
        drop(journal);

        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3").unwrap();
        let (mut journal, lines) = Journal::open::<u32>(&path).unwrap();
        assert_eq!(lines, [1, 2]);
        journal.append(&4).unwrap();
        drop(journal);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n4\n");

        fs::write(&path, "1\nnot JSON\n2\n").unwrap();
        assert!(Journal::open::<u32>(&path).unwrap_err().contains("line 2"));
        fs::remove_file(&path).unwrap();
    }
}
