#!/bin/sh
# The browser tests open reports in a real Chromium. On Debian and Ubuntu this installs it when it is missing;
# elsewhere it says what to install.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null; then
  echo "Install chromium and chromedriver for the browser tests." >&2
  exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium chromium-driver
