#!/usr/bin/env bash
# Install Debian's Chromium for the browser tests, if it is missing and this user may install packages.
# Exit codes: 0 always; without Chromium the tests are skipped, and say so.
set -uo pipefail

if command -v chromium chromium-browser >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Chromium is not installed. To run the browser tests: sudo apt-get install chromium" >&2
  exit 0
fi
echo "Installing Chromium with apt-get"
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
  fonts-dejavu-core; } >/dev/null || echo "Chromium could not be installed." >&2
exit 0
