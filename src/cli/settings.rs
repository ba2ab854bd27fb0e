//! Loading the configuration for a command, and reading secrets from files.
//!
//! Every fault is reported at once, and a bad configuration is exit status 2 whichever command meets it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::console::{CliError, say};
use crate::{
    config::{self, Loaded, Needs, Sources},
    domain::WallClock as _,
    system::SystemClock,
};

/// Nothing that is a secret is longer.
const LONGEST_SECRET: u64 = 64 * 1024;

/// The sources of the configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ConfigArgs {
    /// Configuration file; else FINI_BRIDGE_CONFIG, else config/default.toml if it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Loads it and tells its warnings.
    pub(super) fn load(&self, needs: Needs) -> Result<Loaded, CliError> {
        let loaded = self.load_quietly(needs)?;
        for warning in &loaded.warnings {
            say(warning);
        }
        Ok(loaded)
    }

    /// Its sources.
    pub(super) fn sources(&self, needs: Needs) -> Result<Sources, CliError> {
        let now = jiff::Timestamp::from_millisecond(SystemClock.now().as_millis())
            .map_err(|error| CliError::failed(format!("the machine's clock cannot be right: {error}")))?;
        Ok(Sources::of_process(self.config.clone(), needs, now))
    }

    /// The same for commands that only borrow an address or a secret from it.
    pub(super) fn load_quietly(&self, needs: Needs) -> Result<Loaded, CliError> {
        config::load(&self.sources(needs)?).map_err(|errors| {
            let text = errors.to_string();
            // The report brings its own "error:" to every finding.
            CliError::usage(text.strip_prefix("error: ").unwrap_or(&text))
        })
    }
}

/// A secret from a file, read as the configuration reads one.
pub(super) fn secret_file(path: &Path) -> Result<SecretString, CliError> {
    let text = read_text(path, LONGEST_SECRET)?;
    let secret = config::secret_in(&text);
    if secret.is_empty() {
        return Err(CliError::usage("the file is empty").at(path.display()));
    }
    Ok(SecretString::from(secret))
}

/// A text file of at most `cap` bytes; `-` is stdin.
pub(super) fn read_text(path: &Path, cap: u64) -> Result<String, CliError> {
    String::from_utf8(read_bytes(path, cap)?).map_err(|_| CliError::usage("it is not UTF-8 text").at(path.display()))
}

/// A file of at most `cap` bytes; `-` is stdin.
pub(super) fn read_bytes(path: &Path, cap: u64) -> Result<Vec<u8>, CliError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if path == Path::new("-") {
            io::stdin().lock().take(cap + 1).read_to_end(&mut bytes)?;
        } else {
            File::open(path)?.take(cap + 1).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    let bytes = read().map_err(|error| CliError::usage(format!("it cannot be read: {error}")).at(path.display()))?;
    if bytes.len() as u64 > cap {
        return Err(CliError::usage(format!("it is larger than {cap} bytes")).at(path.display()));
    }
    Ok(bytes)
}
