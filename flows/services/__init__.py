"""The former name of `infra.services`, which systemd units and crontabs may still use."""
