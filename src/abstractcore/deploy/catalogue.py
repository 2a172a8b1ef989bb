"""The catalogue of causes: what engines and vLLM say when something does not start, and what it means.

The texts are those of the real programs (``tests/recordings/engine`` and ``vllm-logs`` beside it) or, for what needs
a GPU, of their sources. Causes stand before the complaints that follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: a text of theirs, and what it means."""

    id: str
    """Stable: ``gpu.runtime``, ``limit.memlock`` ..."""
    text: str
    """A regex that the text of the engine or the server matches; its groups go into the sentences."""
    what: str
    """The cause, in one sentence."""
    matters: str
    """Why it matters, or why it happens."""
    cure: str
    """What to do; a command where there is one."""


_SHM_CURE: Final = "--profile host (--ipc=host), or a larger --shm-size such as 1g"
_TOOLKIT: Final = (
    "install the NVIDIA container toolkit, then: nvidia-ctk runtime configure --runtime=docker; "
    "systemctl restart docker"
)

CAUSES: Final[tuple[Cause, ...]] = (
    # --- the engine ---
    Cause(
        "engine.down",
        r"(?:Cannot connect to the Docker daemon|failed to connect to the docker API|Is the docker daemon running)",
        "no Docker daemon answers",
        "nothing can be started without one",
        "systemctl start docker (or: dockerd &); for a daemon elsewhere: export DOCKER_HOST=...",
    ),
    Cause(
        "engine.rights",
        r"permission denied while trying to connect to the (?:Docker daemon socket|docker API)",
        "this user may not talk to the Docker daemon",
        "the daemon's socket belongs to root and the group docker",
        "usermod -aG docker $USER, then log in again",
    ),
    Cause(
        "gpu.runtime",
        r'could not select device driver "(?:|nvidia|cdi)"',
        "the engine has no GPU runtime",
        "--gpus is a promise that only the NVIDIA container toolkit can keep",
        _TOOLKIT,
    ),
    Cause(
        "gpu.runtime",
        r"[Uu]nknown (?:or invalid )?runtime (?:name|specified)[: ]+\"?nvidia",
        "the engine knows no runtime called nvidia",
        "it comes with the NVIDIA container toolkit",
        _TOOLKIT,
    ),
    Cause(
        "gpu.cdi",
        r"unresolvable CDI devices (\S+)",
        "the engine has no CDI description of {0}",
        "CDI names devices that a file in /etc/cdi describes",
        "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    ),
    Cause(
        "gpu.driver",
        r"nvidia-container-cli: (?:initialization error|requirement error): ([^\n]*)",
        "the NVIDIA driver of this host does not serve the container: {0}",
        "the image's CUDA needs a driver that is loaded and new enough",
        "nvidia-smi (must answer on the host); a newer driver, or an image for an older CUDA",
    ),
    Cause(
        "gpu.device",
        r'error gathering device information while adding custom device "([^"]+)"',
        "the device {0} is not on this host",
        "a container only gets devices that exist",
        "nvidia-smi -L",
    ),
    Cause(
        "limit.memlock",
        r"error setting rlimit type 8\b",
        "the engine may not raise the memlock limit that far",
        "its own hard limit is lower and it has no CAP_SYS_RESOURCE (rootless Docker, LXC, some clouds)",
        "mend the host (systemctl edit docker: LimitMEMLOCK=infinity), or go on without: --allow memlock=8MiB",
    ),
    Cause(
        "limit.other",
        r"error setting rlimit type (\d+)\b",
        "the engine may not raise a limit of the kernel (RLIMIT number {0}) that far",
        "its own hard limit is lower and it has no CAP_SYS_RESOURCE",
        "raise the limit of the daemon itself, or leave the ulimit out with --allow",
    ),
    Cause(
        "port.taken",
        r"(?:Bind for (\S+) failed: port is already allocated|listen tcp4? (\S+): bind: address already in use)",
        "the port {0} is taken",
        "another process or container listens there",
        "name another one with --port, or stop what holds it: ss -ltnp",
    ),
    Cause(
        "image.denied",
        r"pull access denied for (\S+?),? ",
        "the image {0} is not here, and the registry does not give it out",
        "it does not exist there, or needs a login",
        "check the name; docker login, if it is a private one",
    ),
    Cause(
        "image.missing",
        r"(?:manifest for (\S+) not found|(?<!\S)(\S+): not found: manifest unknown"
        r"|[Nn]o such image: (\S+?):?(?:\s|$))",
        "the image {0} is not here, and no registry has it",
        "a container starts from an image",
        "docker pull {0}; or load one that was saved: docker load -i FILE",
    ),
    Cause(
        "image.registry",
        r"(Get \"https?://[^\"]+\": (?:dial tcp|net/http|context deadline|proxyconnect|EOF|tls)[^\n]*)",
        "the registry of images can't be reached",
        "the image is not here, so it has to be downloaded",
        "on a machine with a network: docker save IMAGE -o FILE; here: docker load -i FILE",
    ),
    Cause(
        "image.platform",
        r"exec format error",
        "the image is for another kind of processor",
        "an image runs on the architecture that it was built for",
        "docker image inspect --format '{{.Architecture}}' IMAGE; uname -m",
    ),
    Cause(
        "image.entrypoint",
        r'exec: "([^"]+)": (?:executable file not found|stat [^:]+: no such file)',
        "the image has no program {0}",
        "it is not an image of vLLM, or its layout differs",
        "docker image inspect --format '{{json .Config}}' IMAGE",
    ),
    Cause(
        "mount.source",
        r"bind source path does not exist: (\S+)",
        "the folder {0} that is to be mounted does not exist",
        "it has to exist on the host of the daemon, which may be another machine",
        "mkdir -p {0}",
    ),
    Cause(
        "name.taken",
        r'[Cc]onflict\. The container name "/?([^"]+)" is already in use',
        "there is another container called {0}",
        "it was not started by this deployment, so it is left alone",
        "docker rename {0} {0}-old, or take another --project",
    ),
    Cause(
        "network.missing",
        r"network (\S+) not found",
        "the network {0} is gone",
        "somebody removed it after the container was made",
        "abstractcore down, then: abstractcore up",
    ),
    Cause(
        "network.bridge",
        r"could not find bridge (\S+?):",
        "the engine's bridge {0} is gone from this host",
        "somebody deleted the interface while the engine was running",
        "systemctl restart docker (makes it anew)",
    ),
    Cause(
        "disk.full",
        r"[Nn]o space left on device",
        "the disk is full",
        "images, weights and compiled kernels need room",
        "df -h; docker system df",
    ),
    # --- vLLM, from the outermost cause inward ---
    Cause(
        "shm.small",
        r"Insufficient space in (/dev/shm) for shared-memory allocation: ([\d.]+ \w+) required, ([\d.]+ \w+) free",
        "the shared memory of the container is too small: vLLM needs {1} in {0}, {2} are free",
        "the processes of a server pass tensors through it; the engine's default is 64 MiB",
        _SHM_CURE,
    ),
    Cause(
        "shm.nccl",
        r"Error while creating shared memory segment (/dev/shm/nccl-\S*)",
        "the shared memory of the container is too small for NCCL",
        "without direct access between GPUs, NCCL passes everything through /dev/shm",
        _SHM_CURE,
    ),
    Cause(
        "shm.bus",
        r"Bus error|SIGBUS",
        "the shared memory of the container ran full",
        "a write beyond the end of /dev/shm kills the process",
        _SHM_CURE,
    ),
    Cause(
        "port.taken",
        r"(?:Errno 98\] |error while attempting to bind on address \('[^']*', (\d+)\): )[Aa]ddress already in use",
        "the port of the server is taken",
        "on the host network, the server shares its ports with all other programs",
        "name another one with --port, or stop what holds it: ss -ltnp",
    ),
    Cause(
        "weights.unreadable",
        r"PermissionError: \[Errno 13\] Permission denied: '?([^'\n]+?\.(?:safetensors|json|bin|gguf|model|txt|jinja))",
        "the user of the container may not read the weights ({0})",
        "the server does not run as root, so files of mode 0600 are closed to it",
        "chmod -R a+rX FOLDER-OF-THE-MODEL",
    ),
    Cause(
        "weights.unreadable",
        r"FileNotFoundError: No such file or directory: (\S+\.safetensors)",
        "the user of the container can't open the weights ({0})",
        "files of mode 0600, which are closed to a server that is not root, are not there for the loader",
        "chmod -R a+rX FOLDER-OF-THE-MODEL; if a file is missing, download it again",
    ),
    Cause(
        "files.denied",
        r"PermissionError: \[Errno 13\] Permission denied: '([^'\n]+)'",
        "the user of the container may not use {0}",
        "the server does not run as root, and most of its file system is read-only",
        "look at the owner of what is mounted there: ls -ldn",
    ),
    Cause(
        "files.read-only",
        r"OSError: \[Errno 30\] Read-only file system: '([^'\n]+)'",
        "the server wants to write to {0}, which is read-only",
        "only the caches and /tmp can be written to",
        "point it to a cache: --env NAME=/cache/...",
    ),
    Cause(
        "arguments",
        r"error: unrecognized arguments: ([^\n]+)",
        "this release of vLLM does not know the arguments: {0}",
        "flags come and go between releases",
        "abstractcore plan MODEL --command (prints what this release takes)",
    ),
    Cause(
        "arguments",
        r"error: (argument [^\n]+)",
        "vLLM refuses its arguments: {0}",
        "the server ends before it reads the model",
        "abstractcore plan MODEL --command (prints what this release takes)",
    ),
    Cause(
        "memory.device",
        r"Free memory on device \S+ \(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU memory utilization",
        "the memory of the GPU is in use: {0} of {1} GiB are free",
        "another process holds it, perhaps one that an earlier server left behind",
        "nvidia-smi; then end what holds it, or lower --utilization",
    ),
    Cause(
        "memory.sampler",
        r"CUDA out of memory occurred when warming up sampler with (\d+) dummy requests",
        "the memory of the GPU does not suffice for {0} requests at once",
        "the sampler holds several copies of the logits of every request",
        "--max-num-seqs 128",
    ),
    Cause(
        "memory.cache",
        r"To serve at least one request.*?estimated maximum model length is (\d+)",
        "the memory left for the cache does not hold one request; {0} tokens would fit",
        "a request of full length needs its whole cache at once",
        "--context {0}",
    ),
    Cause(
        "memory.cache",
        r"No available memory for the cache blocks|estimated maximum model length is|KV cache is needed, which is",
        "no memory is left for the cache",
        "weights and activations fill what the server may take",
        "abstractcore plan MODEL (says what fits), or a smaller --context",
    ),
    Cause(
        "memory.host",
        r"less than requested memory|Cannot allocate memory|DefaultCPUAllocator: can't allocate memory",
        "this machine has not enough memory",
        "on the CPU the cache is taken from the machine's own memory",
        "end what else uses it, or ask for a smaller cache: --kv-memory 1",
    ),
    Cause(
        "memory.gpu",
        r"(?:torch\.(?:cuda\.)?OutOfMemoryError|CUDA out of memory)",
        "the memory of the GPU does not suffice",
        "weights, activations and graphs need more than there is",
        "abstractcore plan MODEL (says what fits)",
    ),
    Cause(
        "gpu.bfloat16",
        r"Bfloat16 is only supported on GPUs with compute capability of at least ([\d.]+)",
        "this GPU has no bfloat16",
        "it needs compute capability {0}",
        "--dtype half",
    ),
    Cause(
        "gpu.kernels",
        r"no kernel image is available for execution|invalid device function",
        "this release of vLLM has no kernels for this GPU",
        "images since CUDA 13 need compute capability 7.5; a V100 needs v0.8.5",
        "abstractcore plan MODEL --gpus KIND (names the release that runs)",
    ),
    Cause(
        "gpu.quantization",
        r"[Qq]uantization (?:method|scheme) (.*?is not supported for the current GPU.*)",
        "the model's quantization does not run on this GPU",
        "its kernels need a newer generation",
        "a checkpoint without quantization, or AWQ or GPTQ in place of FP8",
    ),
    Cause(
        "model.context",
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=([\d.]+)",
        "the model's own context is {1} tokens, {0} were asked for",
        "it was not trained for more",
        "--context {1}",
    ),
    Cause(
        "model.heads",
        r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        "{0} attention heads can't be shared by {1} GPUs",
        "every GPU takes an equal part of the heads",
        "abstractcore plan MODEL (chooses a size that divides)",
    ),
    Cause(
        "model.architecture",
        r"Model architectures (\[.*?\]) (?:are not supported|failed)",
        "this release of vLLM does not know the architecture {0}",
        "new models need new releases",
        "a newer image: --image vllm/vllm-openai:vX.Y.Z",
    ),
    Cause(
        "model.weights",
        r"Cannot find any model weights with",
        "the model's folder has no weights",
        "a download was cut, or it is the folder of something else",
        "download it again, or name the folder that holds the *.safetensors",
    ),
    Cause(
        "model.damaged",
        r"(?:SafetensorError|safetensors_rust\.\w+): ([^\n]+)",
        "the model's weights are damaged: {0}",
        "a download that was cut leaves such a file",
        "delete the file and download it again",
    ),
    Cause(
        "model.missing",
        r"(?:Repo id must be in the form|not a valid model identifier|does not appear to have a file named config|"
        r"Repository Not Found|RepositoryNotFoundError)",
        "the model is not where the server looks for it",
        "it is neither a folder inside the container nor known to the hub",
        "name a folder that exists, or an id of the hub",
    ),
    Cause(
        "hub.denied",
        r"GatedRepoError|401 Client Error|Access to model \S+ is restricted",
        "the hub does not give the model out to this user",
        "its licence has to be accepted, with the account whose token is sent",
        "accept it on the model's page, and name the token's file: --hf-token-file FILE",
    ),
    Cause(
        "hub.unreachable",
        r"(?:LocalEntryNotFoundError|We couldn't connect to 'https://huggingface\.co'|OfflineModeIsEnabled)",
        "the model is not in the cache, and the hub can't be reached",
        "the container has no way out, or the cache that is mounted is another one",
        "download it beforehand on the host: hf download MODEL",
    ),
    Cause(
        "cache.noexec",
        r"failed to map segment from shared object",
        "compiled code can't be loaded from a cache that is mounted noexec",
        "Triton and torch compile kernels into their caches and load them from there",
        "mount the cache with exec: --tmpfs /tmp:exec, or a volume",
    ),
    Cause(
        "engine.failed",
        r"Engine core initialization failed\. See root cause above",
        "vLLM ended while it was starting, and its log names no cause that is known here",
        "its last line only says that something above it failed",
        "abstractcore logs",
    ),
)
