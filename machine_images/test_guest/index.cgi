#!/bin/sh
# Who answers, and what was asked by whom.
printf 'Content-Type: text/plain\r\n\r\n'
hostname
echo "path ${REQUEST_URI:-/}"
echo "client $REMOTE_ADDR"
