package modules

import "strings"

// cmdline is what the kernel's command line says of modules.
type cmdline struct {
	options   map[string]string // by module, as finit_module takes them
	blacklist map[string]bool   // modules that no alias loads
}

// parseCmdline reads MODULE.OPTION=VALUE (the kernel's kernel-parameters.rst,
// modprobe(8)) and the blacklists modprobe.blacklist=, module_blacklist= and
// rd.driver.blacklist= (dracut.cmdline(7)): names with commas between.
func parseCmdline(line string) cmdline {
	c := cmdline{map[string]string{}, map[string]bool{}}
	for _, word := range splitCmdline(line) {
		if word == "--" {
			break // the rest is for init
		}
		key, value, _ := strings.Cut(word, "=")
		switch underscores(key) {
		case "modprobe.blacklist", "module_blacklist", "rd.driver.blacklist":
			for _, name := range strings.Split(strings.Trim(value, `"`), ",") {
				c.blacklist[underscores(name)] = true
			}
			continue
		}
		if module, _, ok := strings.Cut(key, "."); ok {
			module = underscores(module)
			option := word[len(module)+1:]
			if c.options[module] != "" {
				option = c.options[module] + " " + option
			}
			c.options[module] = option
		}
	}
	return c
}

// splitCmdline splits at spaces outside of double quotes, which it keeps: the
// kernel reads a module's options by the same rules (lib/cmdline.c, next_arg).
func splitCmdline(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
}
