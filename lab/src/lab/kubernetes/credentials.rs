//! Who the API server is and who may speak to it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::lab::LabName;
use crate::lab::error::{Error, file};
use crate::lab::plan::underlay_addresses;

/// Where the API server listens.
pub const PORT: u16 = 6443;

/// The address of a lab's API server, from every node and from the underlay's namespace.
pub fn server() -> String {
    url(underlay_addresses(1)[0])
}

fn url(server: IpAddr) -> String {
    format!("https://{}", SocketAddr::new(server, PORT))
}

/// Whose credentials are made.
#[derive(Debug)]
pub struct Issue<'a> {
    /// Addresses of the API server; all are asked for at the first one.
    pub server: &'a [IpAddr],
    /// Ranges of services: the first address of each is the API server's, too.
    pub services: &'a [IpNet],
    /// Names of nodes.
    pub nodes: &'a [String],
}

/// The files of the API server, readable by root only.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Those of a lab.
    pub fn of(lab: &LabName) -> Self {
        Self::at(&lab.dir().join("kubernetes"))
    }

    /// Those in a folder.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// How administrator, agents and controller find the API server, and who they are there.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Who a part of the cluster is on the API server: a node by its name, or kube-proxy.
    pub fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.kubeconfig"))
    }

    /// By which kubelets know the API server.
    pub fn kubelet_client(&self) -> PathBuf {
        self.0.join("kubelet-client.crt")
    }

    /// Its key.
    pub fn kubelet_client_key(&self) -> PathBuf {
        self.0.join("kubelet-client.key")
    }

    /// The authority that signed the API server's certificate.
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    /// The API server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("apiserver.crt")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.0.join("apiserver.key")
    }

    /// Checks the tokens of service accounts.
    pub fn service_account_public(&self) -> PathBuf {
        self.0.join("service-account.pub")
    }

    /// Signs them.
    pub fn service_account_key(&self) -> PathBuf {
        self.0.join("service-account.key")
    }

    /// The static users, as `--token-auth-file` has them.
    pub fn users(&self) -> PathBuf {
        self.0.join("users.csv")
    }

    /// What kubectl remembers of the server.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }
}

/// Makes all of them anew, with a user for each node. The kubeconfigs name no file, so that they work in any place.
pub fn write(files: &Files, issue: &Issue<'_>) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(&files.0)
        .map_err(file("create", &files.0))?;
    let keys = |error: rcgen::Error| Error::Invalid(format!("make a certificate: {error}"));
    let (authority, key) = (
        authority().map_err(keys)?,
        KeyPair::generate().map_err(keys)?,
    );
    let certificate = certificate(issue)
        .and_then(|params| params.signed_by(&key, &authority))
        .map_err(keys)?;
    let accounts = KeyPair::generate().map_err(keys)?;
    let client = KeyPair::generate().map_err(keys)?;
    let client_certificate = client_params()
        .and_then(|params| params.signed_by(&client, &authority))
        .map_err(keys)?;
    secret(&files.kubelet_client(), &client_certificate.pem())?;
    secret(&files.kubelet_client_key(), &client.serialize_pem())?;
    secret(&files.ca(), &authority.pem())?;
    secret(&files.certificate(), &certificate.pem())?;
    secret(&files.key(), &key.serialize_pem())?;
    secret(&files.service_account_key(), &accounts.serialize_pem())?;
    secret(&files.service_account_public(), &accounts.public_key_pem())?;
    let admin = (files.kubeconfig(), "admin".to_owned(), "\"system:masters\"");
    let proxy = (
        files.kubeconfig_of("kube-proxy"),
        "system:kube-proxy".to_owned(),
        "",
    );
    let nodes = issue.nodes.iter().map(|node| {
        let user = format!("system:node:{node}");
        (files.kubeconfig_of(node), user, "\"system:nodes\"")
    });
    let cluster = json!({
        "server": url(issue.server[0]), "certificate-authority-data": STANDARD.encode(authority.pem()),
    });
    let mut users = String::new();
    for (path, user, groups) in [admin, proxy].into_iter().chain(nodes) {
        let token = format!("{:032x}", rand::random::<u128>());
        users.extend([token.as_str(), ",", &user, ",", &user, ",", groups, "\n"]);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        });
        // JSON is YAML.
        secret(&path, &format!("{kubeconfig:#}\n"))?;
    }
    secret(&files.users(), &users)
}

/// Who the API server is when it asks a kubelet.
fn client_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver-kubelet-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "weft lab");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// For every name and address by which nodes and pods may ask for the API server.
fn certificate(issue: &Issue<'_>) -> Result<CertificateParams, rcgen::Error> {
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let mut params = CertificateParams::new(names.map(|end| format!("kubernetes{end}")))?;
    let service = issue
        .services
        .iter()
        .filter_map(|net| net.hosts().nth(usize::from(net.addr().is_ipv6())));
    let loopback = IpAddr::from([127, 0, 0, 1]);
    params.subject_alt_names.extend(
        issue
            .server
            .iter()
            .copied()
            .chain(service)
            .chain([loopback])
            .map(SanType::IpAddress),
    );
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn secret(path: &Path, text: &str) -> Result<(), Error> {
    let mut open = OpenOptions::new();
    let opened = open.create_new(true).write(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(file("write", path))
}
