//! An etcd and a kube-apiserver on a loopback address of their own, and a kubectl for them.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weft_agent::config::Access;
use weft_agent::store::{Kubernetes, Reader};

/// Everything that is waited for comes within this time on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Polls until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with this value, and with the test that started it.
pub struct Process(Child);

impl Process {
    /// What it says goes to `log`, if there is one.
    pub fn start(command: &mut Command, log: Option<std::fs::File>) -> Self {
        // So that nothing stays behind when the test itself is killed.
        let mut with = Command::new("setpriv");
        with.args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        with.stdin(Stdio::null());
        if let Some(log) = log {
            with.stdout(log.try_clone().unwrap()).stderr(log);
        }
        Self(with.spawn().unwrap())
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    pub fn wait(&mut self) {
        self.0.wait().unwrap();
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

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
            let ready = self.try_kubectl_at(port, &["get", "--raw=/readyz"], "");
            ready.is_ok().then_some(())
        });
    }

    /// As a machine that loses its power.
    pub fn kill(&mut self) {
        drop(self.api.take());
    }

    /// A kubeconfig file of a user.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.kubeconfig_at(6443, user)
    }

    /// A kubeconfig file of a service account in the namespace weft.
    pub fn kubeconfig_of_service_account(&self, name: &str) -> PathBuf {
        self.kubeconfig_of_token(name, &["create", "token", "-n", "weft", name])
    }

    /// The same as the agent of a node has it: its token names the node.
    pub fn kubeconfig_of_agent(&self, node: &str) -> PathBuf {
        let token = ["create", "token", "-n", "weft", "weft-agent"];
        let bound = ["--bound-object-kind=Node", "--bound-object-name", node];
        self.kubeconfig_of_token(node, &[&token[..], &bound].concat())
    }

    fn kubeconfig_of_token(&self, name: &str, create: &[&str]) -> PathBuf {
        let token = self.kubectl(create);
        let text = std::fs::read_to_string(self.kubeconfig("account")).unwrap();
        let path = self.dir.join(format!("{name}.kubeconfig"));
        let with = text.replace("token: account", &format!("token: {}", token.trim()));
        std::fs::write(&path, with).unwrap();
        path
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

    fn kubeconfig_at(&self, port: u16, user: &str) -> PathBuf {
        let Self { dir, address, .. } = self;
        let path = dir.join(format!("{user}-{port}.kubeconfig"));
        let certificates = dir.join("certs/apiserver.crt");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: weft,\n\
             contexts: [{{name: weft, context: {{cluster: weft, user: {user}}}}}],\n\
             users: [{{name: {user}, user: {{token: {user}}}}}],\n\
             clusters: [{{name: weft, cluster: {{server: 'https://{address}:{port}', tls-server-name: kubernetes.default.svc,\n\
             certificate-authority: {}}}}}]}}\n",
            certificates.display()
        );
        // Whole at once: other processes read it meanwhile.
        let new = dir.join(format!("new-{:016x}", rand::random::<u64>()));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    pub fn access(&self, user: &str) -> Access {
        Access::Kubeconfig {
            files: vec![self.kubeconfig(user)],
            context: None,
        }
    }

    pub fn store(&self, reader: Reader) -> Kubernetes {
        Kubernetes::open(&self.access("admin"), reader).unwrap()
    }

    /// Runs kubectl as administrator, and answers what it prints.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl_at(6443, args, "").unwrap()
    }

    /// `kubectl apply -f -`
    #[track_caller]
    pub fn apply(&self, text: &str) {
        self.apply_at(6443, text);
    }

    #[track_caller]
    pub fn apply_at(&self, port: u16, text: &str) {
        self.try_kubectl_at(port, &["apply", "-f", "-"], text)
            .unwrap();
    }

    pub fn try_kubectl_at(&self, port: u16, args: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig_at(port, "admin"))
            .arg(format!("--cache-dir={}", self.dir.join("cache").display()))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
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
        let mut stream = std::net::TcpStream::connect((self.address, 2379)).unwrap();
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

/// The folder of kube-apiserver and kubectl.
pub fn programs() -> PathBuf {
    let missing = "`make kubernetes` builds it; or set WEFT_KUBERNETES to a folder that has kube-apiserver and kubectl";
    if let Some(folder) = std::env::var_os("WEFT_KUBERNETES") {
        let folder = PathBuf::from(folder);
        assert!(
            folder.join("kube-apiserver").exists(),
            "no kube-apiserver in {}: {missing}",
            folder.display()
        );
        return folder;
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap();
    let versions = cache.join("weft/kubernetes");
    let folders = std::fs::read_dir(&versions)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let with = folders
        .filter(|folder| folder.join("kube-apiserver").exists() && folder.join("kubectl").exists());
    let newest = with.max();
    newest.unwrap_or_else(|| {
        panic!(
            "no kube-apiserver and kubectl in a folder of {}: {missing}",
            versions.display()
        )
    })
}
