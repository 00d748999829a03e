//! Deployment templates and manifests.
