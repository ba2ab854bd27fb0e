//! TLS with the database means what libpq means by it: each `sslmode` before real servers of every kind, beside what `psql` makes
//! of the same address.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::harness::{Setup, eventually, left_out, said};
use crate::postgres::{Server, as_ordinary_user, programs};
use crate::program::run;

/// An authority, and the certificates that it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it can be signed"))
    }

    fn certificate(&self) -> String {
        pem("CERTIFICATE", self.0.as_ref().der())
    }

    /// A certificate for a name, and its key.
    fn signs(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a plain name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.0).expect("it can be signed");
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }
}

/// A certificate that vouches for itself, and its key.
fn own(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a plain name");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.self_signed(&key).expect("it can be signed");
    (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// Files of a test, which the server's user can read; secret ones belong to that user, or to the one who runs the test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("it is ours");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn public(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("the folder is ours");
        self.path(name)
    }

    fn ours(&self, name: &str, text: &str) -> PathBuf {
        let path = self.public(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    fn the_server_s(&self, name: &str, text: &str) -> PathBuf {
        let mut command = as_ordinary_user();
        command.args(["sh", "-c", "umask 077; cat > \"$1\"", "sh"]).arg(self.path(name)).stdin(Stdio::piped());
        let mut child = command.spawn().expect("a shell is part of every system");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
        self.path(name)
    }
}

/// Who may come in how, in the words of `pg_hba.conf`; the operator always may.
fn let_in(files: &Files, name: &str, line: &str) -> String {
    let rules = format!("host postgres all all trust\n{line}\n");
    format!("-c hba_file={} -c log_connections=on", files.public(name, &rules).display())
}

/// A server by its name, and the `-c` options that make it so.
fn kinds(files: &Files, ours: &Authority) -> Vec<(&'static str, String)> {
    let with = |name: &str, (certificate, key): (String, String)| {
        let certificate = files.public(&format!("{name}.crt"), &certificate);
        let key = files.the_server_s(&format!("{name}.key"), &key);
        format!("-c ssl=on -c ssl_cert_file={} -c ssl_key_file={}", certificate.display(), key.display())
    };
    let all = |name: &str| let_in(files, name, "host all all all trust");
    let on = with("on", ours.signs("localhost"));
    let clients = files.public("clients.crt", &ours.certificate());
    let wants = let_in(files, "wants", "hostssl all all all trust clientcert=verify-ca");
    vec![
        ("off", all("off")),
        ("on", format!("{on} {}", all("on"))),
        ("wrong name", format!("{} {}", with("name", ours.signs("db.example")), all("name"))),
        ("foreign CA", format!("{} {}", with("foreign", Authority::new("Foreign").signs("localhost")), all("foreign"))),
        ("its own CA", format!("{} {}", with("own", own("localhost")), all("own"))),
        ("only TLS", format!("{on} {}", let_in(files, "tls", "hostssl all all all trust"))),
        ("never TLS", format!("{on} {}", let_in(files, "plain", "hostnossl all all all trust"))),
        ("client wanted", format!("{on} {wants} -c ssl_ca_file={}", clients.display())),
    ]
}

/// How a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Encrypted,
    Plain,
    Refused,
}

impl Came {
    const fn word(self) -> &'static str {
        match self {
            Self::Encrypted => "TLS",
            Self::Plain => "plain",
            Self::Refused => "–",
        }
    }
}

/// How `psql` comes in, which asks the server.
async fn psql(programs: &Path, url: &str) -> Came {
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let mut command = tokio::process::Command::new(programs.join("psql"));
    command.args(["-X", "-w", "-At", "-d", url, "-c", asked]).env_clear().env("HOME", "/nonexistent");
    let output = command.stdin(Stdio::null()).output().await.expect("it stands beside the server");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "t" => Came::Encrypted,
        "f" => Came::Plain,
        _ => Came::Refused,
    }
}

/// How the bridge comes in, which the server's log says; and its own words.
async fn bridge(server: &Server, config: &str, url: &str) -> (Came, String) {
    let before = server.log().len();
    let environment = [("FINI_BRIDGE__STORE__URL", url)];
    let output = run(Path::new("/"), &["check", "--config", config, "--online"], &environment).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return (Came::Refused, words);
    }
    let authorized = |line: &String| line.contains("authorized") && line.contains("application_name=fini-bridge");
    let line =
        eventually("the server to write of it", async || server.log().into_iter().skip(before).rfind(authorized)).await;
    (if line.contains("SSL enabled") { Came::Encrypted } else { Came::Plain }, words)
}

/// An address that libpq takes and the bridge refuses: it compares no certificate, or not always, and looks as if it did.
fn is_refused_in_words(mode: &str, words: &str) -> bool {
    mode.contains("sslrootcert") && words.contains("sslrootcert") && words.contains("store.url")
}

#[tokio::test]
async fn each_mode_comes_into_each_server_as_libpq_does() {
    let Some(programs) = programs() else {
        left_out("PostgreSQL (initdb)");
        return;
    };
    let (files, ours) = (Files::new(), Authority::new("Ours"));
    let root = files.public("root.crt", &ours.certificate());
    let root = format!("sslrootcert={}", root.display());
    let (certificate, key) = ours.signs("bridge");
    let client = [("sslcert", files.public("client.crt", &certificate)), ("sslkey", files.ours("client.key", &key))];
    let client = client.map(|(name, path)| format!("&{name}={}", path.display())).join("");
    let modes = [
        "sslmode=disable".to_owned(),
        "sslmode=allow".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        "sslmode=verify-ca".to_owned(),
        "sslmode=verify-full".to_owned(),
        format!("sslmode=prefer&{root}"),
        format!("sslmode=require&{root}"),
        format!("sslmode=verify-ca&{root}"),
        format!("sslmode=verify-full&{root}"),
        format!("sslmode=allow{client}"),
        format!("sslmode=require{client}"),
        format!("sslmode=verify-full&{root}{client}"),
    ];
    let checker = Setup::new().start().await;
    let config = checker.config_file();
    let kinds = kinds(&files, &ours);
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let started: Vec<_> = kinds.iter().map(|(_, settings)| scope.spawn(|| Server::start(settings))).collect();
        started.into_iter().map(|one| one.join().expect("it starts").expect("it was there")).collect()
    });
    let rows = kinds.iter().zip(&servers).map(async |((kind, _), server)| {
        let database = server.database().await.replace("127.0.0.1", "localhost");
        let (mut row, mut differences, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for mode in &modes {
            // The answer of psql is the right one.
            let right = psql(&programs, &format!("{database}?{mode}")).await;
            let (came, words) = bridge(server, &config, &format!("{database}?{mode}")).await;
            let is_as_libpq = came == right || (came == Came::Refused && is_refused_in_words(mode, &words));
            if !is_as_libpq {
                differences.push(format!("{kind}, {mode}: psql {right:?}, the bridge {came:?}: {words}"));
            }
            // The words name something that the operator can look at.
            let told = ["sslrootcert", "pg_hba.conf"].iter().any(|word| words.contains(word));
            if came == Came::Refused && !told {
                differences.push(format!("{kind}, {mode}: refused without a word of the cause: {words}"));
            }
            row.push(if came == right { came.word() } else { "(!)" });
            seen.push(came);
        }
        said(&format!("{kind:>14}: {}", row.join(" ")));
        (differences, seen)
    });
    let (differences, seen): (Vec<_>, Vec<_>) = join_all(rows).await.into_iter().unzip();
    let (differences, seen) = (differences.concat(), seen.concat());
    checker.finish().await;
    assert_eq!(differences, Vec::<String>::new());
    for came in [Came::Encrypted, Came::Plain, Came::Refused] {
        assert!(seen.contains(&came), "{came:?} was never tried");
    }
}
