//! Kubeconfig files for a server, and kubectl as its administrator.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use weft_agent::config::Access;

use super::Server;

impl Server {
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
}
