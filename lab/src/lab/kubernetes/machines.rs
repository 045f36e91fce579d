//! What a cluster whose nodes are machines of their own takes from this one: credentials, images, programs. The machines
//! themselves, and what runs on them, are the lab's of `vagrant/`.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use ipnet::IpNet;

use super::credentials::{self, Files, Issue};
use super::{images, programs, whole};
use crate::lab::error::{Error, file};
use crate::lab::options::KubernetesMode;

/// The machines.
#[derive(Debug)]
pub struct Machines {
    /// Address of the API server.
    pub server: IpAddr,
    /// Ranges of services, as the API server gets them.
    pub services: Vec<IpNet>,
    /// Names of all nodes that there may be.
    pub nodes: Vec<String>,
}

impl Machines {
    /// Fills a folder: `credentials/`, `images/` with archives, `dns.yaml`, `programs` (a link to their folder). What is
    /// there and still right is not touched. Several processes may do this at once.
    ///
    /// # Errors
    /// Programs or image that nobody has built, credentials that are there for other machines, a file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let built = programs::directory(KubernetesMode::Cluster)?;
        let weft = images::weft()?;
        fs::create_dir_all(folder).map_err(file("create", folder))?;
        // Until the end of this function.
        let lock = File::open(folder).map_err(file("open", folder))?;
        lock.lock().map_err(file("lock", folder))?;
        self.credentials(folder)?;
        link(&built, &folder.join("programs"))?;
        let archives = folder.join("images");
        fs::create_dir_all(&archives).map_err(file("create", &archives))?;
        link(&weft, &archives.join("weft.tar"))?;
        for (program, name) in images::PROGRAMS {
            let (program, archive) = (built.join(program), archives.join(format!("{program}.tar")));
            if changed(&archive)
                .is_none_or(|made| changed(&program).is_none_or(|built| built > made))
            {
                images::of_program(&program, name, &archive)?;
            }
        }
        let dns = folder.join("dns.yaml");
        fs::write(&dns, whole::dns_objects(&self.services)).map_err(file("write", &dns))
    }

    fn credentials(&self, folder: &Path) -> Result<(), Error> {
        let (done, new) = (folder.join("credentials"), folder.join("credentials.new"));
        // Whose they are; written last.
        let issued = format!("{self:?}\n");
        match fs::read_to_string(done.join("issued")) {
            Ok(found) if found == issued => return Ok(()),
            Ok(_) => {
                return Err(Error::Invalid(format!(
                    "{} is of a cluster with other nodes or addresses: end its machines and remove it",
                    done.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file("read", &done)(error)),
        }
        // What an interrupted run left.
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("remove", &new)(error));
            }
            _ => {}
        }
        let issue = Issue {
            server: &[self.server],
            services: &self.services,
            nodes: &self.nodes,
        };
        credentials::write(&Files::at(&new), &issue)?;
        let mark = new.join("issued");
        fs::write(&mark, issued).map_err(file("write", &mark))?;
        fs::rename(&new, &done).map_err(file("rename", &new))
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn link(to: &Path, at: &Path) -> Result<(), Error> {
    if fs::read_link(at).is_ok_and(|found| found == to) {
        return Ok(());
    }
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", at)(error)),
        _ => symlink(to, at).map_err(file("link", at)),
    }
}
