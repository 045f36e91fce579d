//! An etcd and a kube-apiserver on a loopback address of their own, and a kubectl for them.

mod kubectl;
mod process;
mod programs;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use weft_agent::store::{Kubernetes, Reader};

pub use process::{PATIENCE, Process, until};
pub use programs::programs;

pub struct Server {
    dir: PathBuf,
    address: Ipv4Addr,
    _etcd: Process,
    api: Option<Process>,
    programs: PathBuf,
    /// More flags of the API server.
    flags: &'static [&'static str],
}

impl Server {
    /// A server that is ready, with our kinds.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same with more flags of the API server.
    pub fn with(flags: &'static [&'static str]) -> Self {
        let server = Self::start_with(flags);
        server.install_kinds();
        server
    }

    /// A server that is ready and knows nothing of our kinds.
    pub fn without_kinds() -> Self {
        Self::start_with(&[])
    }

    fn start_with(flags: &'static [&'static str]) -> Self {
        let name = format!("weft-test-kubernetes-{:016x}", rand::random::<u64>());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let [_, a, b, c] = rand::random::<u32>().to_be_bytes();
        let address = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let log = std::fs::File::create(dir.join("etcd.log")).unwrap();
        let etcd = Process::start(
            Command::new("etcd")
                .args(["--unsafe-no-fsync", "--log-level=error", "--data-dir"])
                .arg(dir.join("etcd"))
                .arg(format!("--listen-client-urls=http://{address}:2379"))
                .arg(format!("--advertise-client-urls=http://{address}:2379"))
                .arg(format!("--listen-peer-urls=http://{address}:2380")),
            Some(log),
        );
        let key = dir.join("sa.key");
        let made = Command::new("openssl")
            .args([
                "ecparam",
                "-genkey",
                "-name",
                "prime256v1",
                "-noout",
                "-out",
            ])
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let tokens = "admin,admin,1,system:masters\nlimited,limited,2\n";
        std::fs::write(dir.join("tokens"), tokens).unwrap();
        let mut server = Self {
            dir,
            address,
            _etcd: etcd,
            api: None,
            programs: programs(),
            flags,
        };
        server.start();
        server
    }

    pub fn install_kinds(&self) {
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        self.kubectl(&["apply", "-f", crds.to_str().unwrap()]);
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ]);
    }

    /// Starts the API server, and waits until it is ready.
    pub fn start(&mut self) {
        self.start_at(6443);
    }

    /// The same at another port, where nobody knows of it but [`Server::kubectl_at`].
    pub fn start_at(&mut self, port: u16) {
        let Self {
            dir,
            address,
            programs,
            flags,
            ..
        } = self;
        let at = |name: &str| dir.join(name).display().to_string();
        // What service accounts of ours ask for; nobody else.
        let policy = serde_json::json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:weft"]}, {"level": "None"}],
        });
        std::fs::write(dir.join("audit.yaml"), policy.to_string()).unwrap();
        let log = std::fs::File::create(dir.join("apiserver.log")).unwrap();
        let api = Process::start(
            Command::new(programs.join("kube-apiserver"))
                .arg(format!("--etcd-servers=http://{address}:2379"))
                .arg(format!("--bind-address={address}"))
                .arg(format!("--secure-port={port}"))
                .arg(format!("--cert-dir={}", at("certs")))
                .arg(format!("--token-auth-file={}", at("tokens")))
                .arg(format!("--service-account-key-file={}", at("sa.key")))
                .arg(format!(
                    "--service-account-signing-key-file={}",
                    at("sa.key")
                ))
                .args([
                    "--advertise-address=192.0.2.1",
                    "--service-account-issuer=https://weft.test",
                ])
                .args([
                    "--authorization-mode=RBAC",
                    "--service-cluster-ip-range=10.96.0.0/16",
                ])
                .args(["--endpoint-reconciler-type=none", "--profiling=false"])
                .args(*flags)
                .arg(format!("--audit-policy-file={}", at("audit.yaml")))
                .arg(format!("--audit-log-path={}", at("audit.log"))),
            Some(log),
        );
        self.api = Some(api);
        until("the API server is ready", || {
            if self.api.as_mut().unwrap().ended() {
                let log = std::fs::read_to_string(self.dir.join("apiserver.log")).unwrap();
                panic!(
                    "the API server ended: {}",
                    &log[log.len().saturating_sub(3000)..]
                );
            }
            // Somebody listens near the end of a start, of which kubectl would take most of a processor.
            TcpStream::connect((self.address, port)).ok()?;
            let ready = self.try_kubectl_at(port, &["get", "--raw=/readyz"], "");
            ready.is_ok().then_some(())
        });
    }

    /// As a machine that loses its power.
    pub fn kill(&mut self) {
        drop(self.api.take());
    }

    /// The answered requests of service accounts in the namespace weft.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("audit.log")).unwrap_or_default();
        // The last line may be in the making.
        let lines = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    pub fn store(&self, reader: Reader) -> Kubernetes {
        Kubernetes::open(&self.access("admin"), reader).unwrap()
    }

    /// Lets etcd forget all but the present, as it does by itself every five minutes.
    pub fn compact(&self) {
        let status = self.etcd("/v3/maintenance/status", "{}");
        let revision = status["header"]["revision"].as_str().unwrap().to_owned();
        self.etcd(
            "/v3/kv/compaction",
            &format!("{{\"revision\": {revision}, \"physical\": true}}"),
        );
    }

    /// A request to etcd's own HTTP gateway.
    fn etcd(&self, path: &str, body: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect((self.address, 2379)).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{path}: {answer}");
        serde_json::from_str(body).unwrap()
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
