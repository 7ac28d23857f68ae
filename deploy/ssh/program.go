package ssh

import "runtime"

// howToInstall is where ssh comes from on this system.
func howToInstall() string {
	if runtime.GOOS == "windows" {
		return "winget install Microsoft.OpenSSH.Preview"
	}
	return "apt install openssh-client"
}
