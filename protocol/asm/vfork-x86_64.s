# outlive_vfork(function, argument, top of the child's stack): the child shares our memory and we sleep until its exec
# or its end. Everything the child needs is in registers, which it inherits. 56 is clone, 0x4111 CLONE_VM | CLONE_VFORK | SIGCHLD.
.globl outlive_vfork
.hidden outlive_vfork
outlive_vfork:
    mov r8, rdi
    mov r9, rsi
    mov rsi, rdx
    mov edi, 0x4111
    xor edx, edx
    xor r10d, r10d
    mov eax, 56
    syscall
    test rax, rax
    jnz 2f
    xor ebp, ebp
    mov rdi, r9
    call r8
    ud2
2:  ret
