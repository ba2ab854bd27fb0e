//! File systems of our own: made, mounted, cut off, unmounted.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The ioctl that cuts an ext4 or xfs file system off without writing its journal: what a power cut leaves behind.
const CUT_OFF: &str = "import fcntl,os,struct,sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// A mounted file system; unmounted when it is dropped.
pub struct Mounted {
    pub at: PathBuf,
    image: Option<PathBuf>,
}

impl Mounted {
    /// An ext4 file system in a file of `folder`.
    pub fn ext4(folder: &Path) -> Result<Self> {
        let image = folder.join("image");
        let at = folder.join("disk");
        run("rm", &["-f", text(&image)?])?;
        run("truncate", &["-s", "200M", text(&image)?])?;
        run("mkfs.ext4", &["-q", text(&image)?])?;
        std::fs::create_dir_all(&at)?;
        let mounted = Self { at, image: Some(image) };
        mounted.mount()?;
        Ok(mounted)
    }

    /// A file system of so many MiB in memory.
    pub fn tmpfs(folder: &Path, megabytes: u32) -> Result<Self> {
        let at = folder.join("disk");
        std::fs::create_dir_all(&at)?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs", text(&at)?])?;
        Ok(Self { at, image: None })
    }

    fn mount(&self) -> Result<()> {
        let image = self.image.as_deref().context("only a file system in a file is mounted again")?;
        run("mount", &["-o", "loop,errors=remount-ro", text(image)?, text(&self.at)?])
    }

    /// Has it turn read-only under whoever writes to it, as the kernel does with a file system it finds damaged.
    pub fn turn_read_only(&self) -> Result<()> {
        let found = Command::new("findmnt").args(["-n", "-o", "SOURCE", text(&self.at)?]).output()?;
        let source = String::from_utf8(found.stdout).context("a device whose name is not text")?;
        let device = source.trim().rsplit('/').next().unwrap_or_default();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "1").with_context(|| format!("writing to {trigger}"))
    }

    /// Repairs it and mounts it again, as an operator would.
    pub fn repaired(&self) -> Result<()> {
        let image = self.image.as_deref().context("only a file system in a file is repaired")?;
        run("umount", &[text(&self.at)?])?;
        // 1 says that it repaired something.
        let done = Command::new("e2fsck").args(["-f", "-y", text(image)?]).output().context("running e2fsck")?;
        if done.status.code().is_none_or(|code| code > 1) {
            bail!("e2fsck: {}", String::from_utf8_lossy(&done.stdout).trim());
        }
        self.mount()
    }

    /// Cuts it off: nothing that is not on the disk now ever gets there.
    pub fn cut_off(&self) -> Result<()> {
        run("python3", &["-c", CUT_OFF, text(&self.at)?])
    }

    /// Mounts it again, which replays its journal.
    pub fn again(&self) -> Result<()> {
        run("umount", &[text(&self.at)?])?;
        self.mount()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = text(&self.at).and_then(|at| run("umount", &["-l", at])) {
            eprintln!("not unmounted: {error:#}");
        }
    }
}

/// Why this cannot be done here, if so.
pub fn obstacle(programs: &[&str]) -> Option<String> {
    let is_root = run("sh", &["-c", "test \"$(id -u)\" = 0"]).is_ok();
    if !is_root {
        return Some("mounting needs root".to_owned());
    }
    let missing = programs.iter().find(|program| run("sh", &["-c", &format!("command -v {program}")]).is_err())?;
    Some(format!("{missing} is not installed"))
}

/// Runs a program to its end.
pub fn run(program: &str, words: &[&str]) -> Result<()> {
    let done = Command::new(program).args(words).output().with_context(|| format!("running {program}"))?;
    if !done.status.success() {
        bail!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}
