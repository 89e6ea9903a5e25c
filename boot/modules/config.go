package modules

import (
	"os"
	"path"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
)

// configDirs hold modprobe.d(5)'s files; of two with one name the first counts.
var configDirs = [...]string{"etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"}

// maxConfig is how much of a file is read.
const maxConfig = 64 << 10

// addConfig adds what the files below root say: options, before those of the
// command line, which so count, and what no alias loads. An install command is not
// run; where it is there to load nothing (/bin/false, /bin/true), nothing is.
func (c *cmdline) addConfig(root string) {
	seen := map[string]bool{}
	options := map[string]string{}
	for _, dir := range configDirs {
		dir = path.Join(root, dir)
		entries, _ := stable.ReadDir(os.DirFS(dir), ".")
		for _, e := range entries {
			if seen[e.Name()] || !strings.HasSuffix(e.Name(), ".conf") {
				continue
			}
			seen[e.Name()] = true
			text, err := os.ReadFile(path.Join(dir, e.Name()))
			if err != nil || len(text) > maxConfig {
				continue
			}
			for _, line := range strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
				c.configLine(strings.Fields(line), options)
			}
		}
	}
	for module, text := range options {
		c.options[module] = strings.TrimSpace(text + " " + c.options[module])
	}
}

func (c *cmdline) configLine(words []string, options map[string]string) {
	if len(words) < 2 {
		return
	}
	module := underscores(words[1])
	switch words[0] {
	case "options":
		options[module] = strings.TrimSpace(options[module] + " " + strings.Join(words[2:], " "))
	case "blacklist":
		c.blacklist[module] = true
	case "install":
		if command := path.Base(words[len(words)-1]); len(words) == 3 && (command == "false" || command == "true") {
			c.blacklist[module] = true
		}
	}
}
